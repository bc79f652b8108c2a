"""LibriTTS: LibriSpeech cut at sentences, at 24 kHz, for synthesis (Zen et al., arXiv:1904.02882)."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final, Literal

from pegbox.corpora import _draw, _read
from pegbox.rows import Row

GET: Final = "unpack https://www.openslr.org/60 so that LibriTTS/<part>/<speaker>/<chapter>/ lies here"
LICENCE: Final = "CC BY 4.0"
# Checksums and sizes as TensorFlow Datasets has them; torchaudio has the same checksums.
ARCHIVES: Final = {
    "dev-clean": (
        "https://www.openslr.org/resources/60/dev-clean.tar.gz",
        "sha256:da0864e1bd26debed35da8a869dd5c04dfc27682921936de7cff9c8a254dbe1a",
        1_291_469_655,
        "",
    ),
    "dev-other": (
        "https://www.openslr.org/resources/60/dev-other.tar.gz",
        "sha256:d413eda26f3a152ac7c9cf3658ef85504dfb1b625296e5fa83727f5186cca79c",
        924_804_676,
        "",
    ),
    "test-clean": (
        "https://www.openslr.org/resources/60/test-clean.tar.gz",
        "sha256:234ea5b25859102a87024a4b9b86641f5b5aaaf1197335c95090cde04fe9a4f5",
        1_230_670_113,
        "",
    ),
    "test-other": (
        "https://www.openslr.org/resources/60/test-other.tar.gz",
        "sha256:33a5342094f3bba7ccc2e0500b9e72d558f72eb99328ac8debe1d9080402f10d",
        964_502_297,
        "",
    ),
    "train-clean-100": (
        "https://www.openslr.org/resources/60/train-clean-100.tar.gz",
        "sha256:c5608bf1ef74bb621935382b8399c5cdd51cd3ee47cec51f00f885a64c6c7f6b",
        7_723_686_890,
        "",
    ),
    "train-clean-360": (
        "https://www.openslr.org/resources/60/train-clean-360.tar.gz",
        "sha256:ce7cff44dcac46009d18379f37ef36551123a1dc4e5c8e4eb73ae57260de4886",
        27_504_073_644,
        "",
    ),
    "train-other-500": (
        "https://www.openslr.org/resources/60/train-other-500.tar.gz",
        "sha256:e35f7e34deeb2e2bdfe4403d88c8fdd5fbf64865cae41f027a185a6965f0a5df",
        44_565_031_479,
        "",
    ),
}


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
