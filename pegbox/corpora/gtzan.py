"""GTZAN: a thousand excerpts of half a minute in ten genres (Tzanetakis and Cook, IEEE TSAP 2002)."""

from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import ClassVar, Final

from pegbox.corpora import _draw, _read
from pegbox.rows import Row, by_fold

GENRES: Final = ("blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock")
PARTS: Final = {"train": "train", "valid": "valid", "test": "test"}
GET: Final = "unpack GTZAN (genres.tar.gz, or genres_original of its copies) so that blues/blues.00000.wav lies here"


@dataclass(frozen=True)
class Gtzan:
    """Rows with the label `genre`, in ten folds drawn evenly over the genres by `seed`; `fold` is tested.

    GTZAN has no official folds, and its genres repeat artists, recordings and excerpts (Sturm, arXiv:1306.1461): the
    drawn folds apply no artist filter and flatter every model. Give `filtered`, a folder with `train_filtered.txt`,
    `valid_filtered.txt` and `test_filtered.txt` (lines such as `blues/blues.00029.wav`), to split by these lists
    instead; excerpts outside them are left out. `skip` drops excerpts by name: `jazz.00054` cannot be read in the
    copies that circulate as WAV.
    """

    root: str
    fold: int = 10
    valid: float = 0.1
    seed: int = 0
    filtered: str = ""
    skip: tuple[str, ...] = ("jazz.00054",)

    disjoint: ClassVar[str | None] = None
    stratify: ClassVar[str | None] = "genre"

    def rows(self) -> list[Row]:
        """Returns the rows with splits, by id."""
        root = _read.root(self.root, GENRES, GET, _inside(self.root))
        found = {path.stem: path for genre in GENRES for path in _draw.audio_files(root / genre)}
        _read.refuse(root, [f"{p}: lies in another genre" for s, p in found.items() if not s.startswith(p.parent.name)])
        if self.filtered:
            rows = [_row(found[name], split=split) for name, split in self._parts({*found}).items()]
            return _read.ordered(rows, root)
        rows = [_row(path, fold=fold) for genre in GENRES for path, fold in self._folds(genre, found)]
        kept = [row for row in rows if row.id not in self.skip]
        return by_fold(_read.ordered(kept, root), self.fold, self.valid, self.seed, None, "genre")

    def _folds(self, genre: str, found: dict[str, Path]) -> list[tuple[Path, int]]:
        names = [name for name, path in found.items() if path.parent.name == genre]
        names.sort(key=lambda name: blake2b(f"{self.seed} {name}".encode(), digest_size=8).digest())
        return [(found[name], number % 10 + 1) for number, name in enumerate(names)]

    def _parts(self, found: set[str]) -> dict[str, str]:
        parts, faults = dict[str, str](), list[str]()
        for part, split in PARTS.items():
            for line in _read.lines(Path(self.filtered) / f"{part}_filtered.txt"):
                name = Path(line.strip()).stem
                faults += [f"{name} stands in two lists"] if name in parts else []
                faults += [f"{name} has no sound"] if name not in found and name not in self.skip else []
                parts[name] = split
        _read.refuse(self.filtered, faults)
        return {name: split for name, split in parts.items() if name not in self.skip}


def _inside(root: str) -> str:
    """Returns the folder of genres inside the root, as the copies name it."""
    return next((name for name in ("genres", "genres_original") if (Path(root) / name).is_dir()), "")


def _row(path: Path, split: str = "", fold: int | None = None) -> Row:
    return Row(path.stem, str(path), {"genre": path.parent.name}, split, fold)
