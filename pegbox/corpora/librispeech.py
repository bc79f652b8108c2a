"""LibriSpeech: read English books, with text (Panayotov et al., ICASSP 2015; https://www.openslr.org/12)."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from pegbox.corpora import _read
from pegbox.corpora._lexicon import Lexicon
from pegbox.rows import Row

GET: Final = "unpack https://www.openslr.org/12 so that LibriSpeech/<part>/<speaker>/<chapter>/ lies here"
LICENCE: Final = "CC BY 4.0"
# Checksums and sizes as TensorFlow Datasets has them; torchaudio has the same checksums.
ARCHIVES: Final = {
    "dev-clean": (
        "https://www.openslr.org/resources/12/dev-clean.tar.gz",
        "sha256:76f87d090650617fca0cac8f88b9416e0ebf80350acb97b343a85fa903728ab3",
        337_926_286,
        "",
    ),
    "dev-other": (
        "https://www.openslr.org/resources/12/dev-other.tar.gz",
        "sha256:12661c48e8c3fe1de2c1caa4c3e135193bfb1811584f11f569dd12645aa84365",
        314_305_928,
        "",
    ),
    "test-clean": (
        "https://www.openslr.org/resources/12/test-clean.tar.gz",
        "sha256:39fde525e59672dc6d1551919b1478f724438a95aa55f874b576be21967e6c23",
        346_663_984,
        "",
    ),
    "test-other": (
        "https://www.openslr.org/resources/12/test-other.tar.gz",
        "sha256:d09c181bba5cf717b3dee7d4d592af11a3ee3a09e08ae025c5506f6ebe961c29",
        328_757_843,
        "",
    ),
    "train-clean-100": (
        "https://www.openslr.org/resources/12/train-clean-100.tar.gz",
        "sha256:d4ddd1d5a6ab303066f14971d768ee43278a5f2a0aa43dc716b0e64ecbbbf6e2",
        6_387_309_499,
        "",
    ),
    "train-clean-360": (
        "https://www.openslr.org/resources/12/train-clean-360.tar.gz",
        "sha256:146a56496217e96c14334a160df97fffedd6e0a04e66b9c5af0d40be3c792ecf",
        23_049_477_885,
        "",
    ),
    "train-other-500": (
        "https://www.openslr.org/resources/12/train-other-500.tar.gz",
        "sha256:ddb22f27f96ec163645d53215559df6aa36515f26e01dd70798188350adcb6d2",
        30_593_501_606,
        "",
    ),
}


@dataclass(frozen=True)
class Librispeech:
    """Rows with the labels `transcript`, `speaker` and `chapter`, and `phonemes` where a `lexicon` is given.

    `train`, `valid` and `test` name the official parts; the defaults are SUPERB's. `lexicon` lists files of
    `WORD  PH PH PH`, such as the official `librispeech-lexicon.txt`: the first pronunciation of a word counts, and a
    word without one is refused. No speaker stands in two splits.
    """

    root: str
    train: tuple[str, ...] = ("train-clean-100",)
    valid: tuple[str, ...] = ("dev-clean",)
    test: tuple[str, ...] = ("test-clean",)
    lexicon: tuple[str, ...] = ()

    disjoint: ClassVar[str | None] = "speaker"
    stratify: ClassVar[str | None] = None

    def rows(self) -> list[Row]:
        """Returns the rows with splits, by id."""
        parts = {part: name for name in ("train", "valid", "test") for part in getattr(self, name)}
        root = _read.root(self.root, parts, GET, "LibriSpeech")
        words, faults = Lexicon(self.lexicon), list[str]()
        rows = [row for part, split in parts.items() for row in self._part(root / part, split, words, faults)]
        _read.refuse(root, faults)
        words.refuse()
        return _read.ordered(rows, root)

    def _part(self, place: Path, split: str, words: Lexicon, faults: list[str]) -> Iterator[Row]:
        for chapter in [inner for outer in _read.folders(place) for inner in _read.folders(outer)]:
            sounds, listed = _read.sounds(chapter), set[str]()
            for path in _read.files(chapter, ".txt"):
                for line in _read.lines(path):
                    name, _, text = line.strip().partition(" ")
                    if name not in sounds or not text:
                        faults.append(f"{path.name}: {name} has no {'text' if name in sounds else 'sound'}")
                        continue
                    listed.add(name)
                    labels = {"transcript": text, "speaker": chapter.parent.name, "chapter": chapter.name}
                    labels |= {"phonemes": words.say(text, name)} if self.lexicon else {}
                    yield Row(name, str(sounds[name]), labels, split)
            faults += [f"{sounds[name]}: stands in no .trans.txt" for name in sorted({*sounds} - listed)]
