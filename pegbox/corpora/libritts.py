"""LibriTTS: LibriSpeech cut at sentences, at 24 kHz, for synthesis (Zen et al., arXiv:1904.02882)."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final, Literal

from pegbox.corpora import _draw, _read
from pegbox.rows import Row

GET: Final = "unpack https://www.openslr.org/60 so that LibriTTS/<part>/<speaker>/<chapter>/ lies here"


@dataclass(frozen=True)
class Libritts:
    """Rows with the labels `transcript`, `speaker` and `chapter`; `text` chooses the normalized or original spelling.

    `train`, `valid` and `test` name the official parts. No speaker stands in two splits.
    """

    root: str
    train: tuple[str, ...] = ("train-clean-100",)
    valid: tuple[str, ...] = ("dev-clean",)
    test: tuple[str, ...] = ("test-clean",)
    text: Literal["normalized", "original"] = "normalized"

    disjoint: ClassVar[str | None] = "speaker"
    stratify: ClassVar[str | None] = None

    def rows(self) -> list[Row]:
        """Returns the rows with splits, by id."""
        parts = {part: name for name in ("train", "valid", "test") for part in getattr(self, name)}
        root, faults = _read.root(self.root, parts, GET, "LibriTTS"), list[str]()
        rows = [row for part, split in parts.items() for row in self._part(root / part, split, faults)]
        _read.refuse(root, faults)
        return _read.ordered(rows, root)

    def _part(self, place: Path, split: str, faults: list[str]) -> Iterator[Row]:
        for chapter in [inner for outer in _read.folders(place) for inner in _read.folders(outer)]:
            for path in _draw.audio_files(chapter):
                text = path.with_suffix(f".{self.text}.txt")
                said = " ".join(_read.lines(text)).strip() if text.is_file() else ""
                faults += [] if said else [f"{path.name} has no text in {text.name}"]
                labels = {"transcript": said, "speaker": chapter.parent.name, "chapter": chapter.name}
                yield Row(path.stem, str(path), labels, split)
