"""ESC-10: 400 environmental sounds, 10 classes, 5 folds, a part of ESC-50 (Piczak, ACM MM 2015)."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from pegbox.corpora import _draw, _esc
from pegbox.errors import CorpusError
from pegbox.rows import Row

GET: Final = "unpack https://github.com/karolpiczak/ESC-50 so that meta/esc50.csv and audio/ lie here"


@dataclass(frozen=True)
class Esc10:
    """Rows with the labels `event` and `source`; one fold tested, a share of the rest held out.

    `root` is the tree of ESC-50, a folder a class as in ESC-10's release, or a flat folder of files named
    `{fold}-{source}-{take}` with a `manifest.csv` (columns path and event) in it or beside it.
    """

    root: str
    fold: int = 5
    valid: float = 0.125
    seed: int = 0

    disjoint: ClassVar[str | None] = "source"
    stratify: ClassVar[str | None] = "event"

    def rows(self) -> list[Row]:
        """Returns the rows with splits, by id."""
        root = _draw.folder(self.root)
        return _esc.split(_found(root), self.root, self.fold, self.valid, self.seed)


def _found(root: Path) -> list[Row]:
    if (root / "meta" / "esc50.csv").is_file():
        return _esc.official(root, only_esc10=True)
    for table in (root / "manifest.csv", root.parent / "manifest.csv"):
        if table.is_file() and _draw.audio_files(root):
            return _esc.listed(root, table)
    classes = [path for path in sorted(root.iterdir()) if path.is_dir()]
    if not classes:
        raise CorpusError(f"{root}: no folders of classes here, no manifest.csv and no meta/esc50.csv; {GET}")
    return [
        _esc.named(path, each.name.partition(" - ")[2] or each.name)
        for each in classes
        for path in _draw.audio_files(each)
    ]
