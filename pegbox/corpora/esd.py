"""ESD: the same sentences in five emotions by ten English and ten Mandarin speakers (Zhou et al., arXiv:2010.14794)."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from pegbox.corpora import _draw, _read
from pegbox.rows import Row

ENGLISH: Final = tuple(f"{number:04d}" for number in range(11, 21))
EMOTIONS: Final = ("Angry", "Happy", "Neutral", "Sad", "Surprise")
PARTS: Final = {"train": "train", "evaluation": "valid", "test": "test"}
GET: Final = (
    "ask for ESD at https://hltsingapore.github.io/ESD/ and unpack the release in which "
    "0011/Angry/train/, 0011/Angry/evaluation/ and 0011/Angry/test/ lie here"
)


@dataclass(frozen=True)
class Esd:
    """Rows with the labels `emotion` (in small letters), `speaker`, and `transcript` where the speaker's list has it.

    The official parts. They have speakers and sentences in common, so they measure known speakers only; `speakers` are
    the English ones by default, 0001 to 0010 are the Mandarin ones.
    """

    root: str
    speakers: tuple[str, ...] = ENGLISH

    disjoint: ClassVar[str | None] = None
    stratify: ClassVar[str | None] = "emotion"

    def rows(self) -> list[Row]:
        """Returns the rows with splits, by id."""
        needs = [f"{who}/{emotion}/{part}" for who in self.speakers for emotion in EMOTIONS for part in PARTS]
        root = _read.root(self.root, needs[:1], GET)
        _read.refuse(root, [f"no folder {name}" for name in needs if not (root / name).is_dir()])
        rows = []
        for who in self.speakers:
            texts = _texts(root / who / f"{who}.txt")
            for emotion in EMOTIONS:
                for part, split in PARTS.items():
                    for path in _draw.audio_files(root / who / emotion / part):
                        labels = {"emotion": emotion.lower(), "speaker": who}
                        labels |= {"transcript": texts[path.stem]} if texts.get(path.stem) else {}
                        rows.append(Row(path.stem, str(path), labels, split))
        return _read.ordered(rows, root)


def _texts(path: Path) -> dict[str, str]:
    """Returns clip → sentence of lines `clip<TAB>sentence<TAB>emotion`, in UTF-8 or UTF-16."""
    if not path.is_file():
        return {}
    with path.open("rb") as file:
        wide = file.read(2) in (b"\xff\xfe", b"\xfe\xff")
    cells = [line.split("\t") for line in _read.lines(path, "utf-16" if wide else "utf-8-sig")]
    return {each[0].strip(): each[1].strip() for each in cells if len(each) > 1}
