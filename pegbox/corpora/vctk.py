"""VCTK: about 110 English speakers of many accents (Yamagishi et al., doi:10.7488/ds/2645), 0.80 and 0.92."""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final, Literal

from pegbox.corpora import _draw, _read
from pegbox.errors import CorpusError
from pegbox.rows import Row

PLACES: Final = ("wav48_silence_trimmed", "wav48")
GET: Final = (
    "unpack https://datashare.ed.ac.uk/handle/10283/3443 so that wav48/p225/ (or wav48_silence_trimmed/p225/) lies here"
)
LICENCE: Final = "CC BY 4.0"
# As TensorFlow Datasets has it; torchaudio has the same checksum. The archive has no folder of its own.
ARCHIVES: Final = {
    "0.92": (
        "https://datashare.ed.ac.uk/bitstream/handle/10283/3443/VCTK-Corpus-0.92.zip",
        "sha256:f96258be9fdc2cbff6559541aae7ea4f59df3fcaf5cf963aae5ca647357e359c",
        11_747_302_977,
        "",
    ),
}


@dataclass(frozen=True)
class Vctk:
    """Rows with the labels `speaker`, `prompt` (the number of the sentence) and `transcript` where the text is there.

    Known speakers are told apart, as in SURE (arXiv:2303.03267): of a speaker's clips by name the last tenth is tested,
    the tenth before it validates. All speakers read some of the same sentences, so sentences stand in several splits.
    A speaker of fewer than ten clips is refused. `mic` chooses the microphone of 0.92. `skip` leaves speakers out, by
    default the two that SURE leaves out, and s5.
    """

    root: str
    mic: Literal["mic1", "mic2"] = "mic1"
    skip: tuple[str, ...] = ("p280", "p315", "s5")

    disjoint: ClassVar[str | None] = None
    stratify: ClassVar[str | None] = "speaker"

    def rows(self) -> list[Row]:
        """Returns the rows with splits, by id."""
        root = _read.root(self.root, [], GET)
        place = next((root / name for name in PLACES if (root / name).is_dir()), None)
        if place is None:
            raise CorpusError(f"{root}: no {' or '.join(PLACES)} here; {GET}")
        clips = defaultdict[str, list[Path]](list)
        for folder in _read.folders(place):
            if folder.name not in self.skip:
                other = "mic2" if self.mic == "mic1" else "mic1"
                clips[folder.name] = [path for path in _draw.audio_files(folder) if not path.stem.endswith(other)]
        few = {who: len(found) for who, found in clips.items() if len(found) < 10}
        _read.refuse(place, [f"{who} has {n} clips, too few to split; give skip" for who, n in few.items()])
        return _read.ordered((row for who, found in clips.items() for row in _split(root, who, found)), place)


def _split(root: Path, speaker: str, clips: list[Path]) -> list[Row]:
    """Returns a speaker's rows: the last floor(n / 10) test, as many before them validate."""
    tenth = len(clips) // 10
    rows = []
    for number, path in enumerate(clips):
        split = "train" if number < len(clips) - 2 * tenth else "valid" if number < len(clips) - tenth else "test"
        name = path.stem.removesuffix("_mic1").removesuffix("_mic2")
        labels = {"speaker": speaker, "prompt": name.rpartition("_")[2]}
        text = root / "txt" / speaker / f"{name}.txt"
        labels |= {"transcript": " ".join(_read.lines(text)).strip()} if text.is_file() else {}
        rows.append(Row(name, str(path), labels, split))
    return rows
