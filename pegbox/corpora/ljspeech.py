"""LJ Speech: one reader of seven old books, 24 hours at 22.05 kHz (Ito and Johnson, 2017; keithito.com)."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final, Literal

from pegbox.corpora import _draw, _read
from pegbox.rows import Row

GET: Final = "unpack https://keithito.com/LJ-Speech-Dataset/ so that metadata.csv and wavs/ lie here"
LICENCE: Final = "public domain"
# As TensorFlow Datasets has it; torchaudio has the same checksum.
ARCHIVES: Final = {
    "LJSpeech-1.1": (
        "https://data.keithito.com/data/speech/LJSpeech-1.1.tar.bz2",
        "sha256:be1a30453f28eb8dd26af4101ae40cbf2c50413b1bb21936cbcdc6fae3de8aa5",
        2_748_572_632,
        "",
    ),
}


@dataclass(frozen=True)
class LJSpeech:
    """Rows with the labels `transcript` and `chapter`; `text` chooses the normalized or the original spelling.

    The release has no splits: whole chapters are drawn, so that none stands in two.
    """

    root: str
    text: Literal["normalized", "original"] = "normalized"
    valid: float = 0.05
    test: float = 0.05
    seed: int = 0

    disjoint: ClassVar[str | None] = "chapter"
    stratify: ClassVar[str | None] = None

    def rows(self) -> list[Row]:
        """Returns the rows with splits, by id."""
        root = _read.root(self.root, ("metadata.csv", "wavs"), GET, "LJSpeech-1.1")
        sounds, listed, faults = _read.sounds(root / "wavs"), dict[str, str](), list[str]()
        for number, line in enumerate(_read.lines(root / "metadata.csv"), 1):
            name, _, texts = line.rstrip("\r").partition("|")  # no table of csv's: quotation marks are text
            said = self._said(texts)
            kinds = {"no sound": name not in sounds, "no text": not said, "its id twice": name in listed}
            faults += [f"metadata.csv, line {number}: {name[:40]} has {kind}" for kind, found in kinds.items() if found]
            listed[name] = said
        faults += [f"{sounds[name]}: stands in no line of metadata.csv" for name in sorted({*sounds} - {*listed})]
        _read.refuse(root, faults)
        rows = [_row(sounds[name], said) for name, said in listed.items()]
        rows = _read.ordered(rows, f"{root} ({GET})")
        return _draw.draw(rows, self.valid, self.test, self.seed, self.disjoint, None)

    def _said(self, texts: str) -> str:
        """Returns the text that was asked for; a line that lacks the normalized one needed no change."""
        original, _, normalized = texts.partition("|")
        return " ".join(((self.text == "normalized" and normalized) or original).split())


def _row(path: Path, said: str) -> Row:
    return Row(path.stem, str(path), {"transcript": said, "chapter": path.stem.partition("-")[0]})
