"""ESC-50: 2,000 environmental sounds, 50 classes, 5 folds (Piczak, ACM MM 2015, doi:10.1145/2733373.2806390)."""

from dataclasses import dataclass
from typing import ClassVar, Final

from pegbox.corpora import _draw, _esc
from pegbox.errors import CorpusError
from pegbox.rows import Row

GET: Final = "unpack https://github.com/karolpiczak/ESC-50 so that meta/esc50.csv and audio/ lie here"


@dataclass(frozen=True)
class Esc50:
    """Rows of the release with the labels `event` and `source`; one fold tested, a share of the rest held out."""

    root: str
    fold: int = 5
    valid: float = 0.125
    seed: int = 0

    disjoint: ClassVar[str | None] = "source"
    stratify: ClassVar[str | None] = "event"

    def rows(self) -> list[Row]:
        """Returns the rows with splits, by id."""
        root = _draw.folder(self.root)
        if not (root / "meta" / "esc50.csv").is_file():
            raise CorpusError(f"{self.root}: no meta/esc50.csv; {GET}")
        return _esc.split(_esc.official(root, only_esc10=False), self.root, self.fold, self.valid, self.seed)
