"""UrbanSound8K: ten sounds of a city in ten official folds (Salamon et al., ACM MM 2014)."""

from dataclasses import dataclass
from typing import ClassVar, Final

from pegbox.corpora import _read
from pegbox.rows import Row, by_fold

TABLE: Final = "metadata/UrbanSound8K.csv"
COLUMNS: Final = ("slice_file_name", "fsID", "salience", "fold", "class")
GET: Final = (
    "unpack https://urbansounddataset.weebly.com so that metadata/UrbanSound8K.csv and audio/fold1/ to audio/fold10/ "
    "lie here"
)
LICENCE: Final = "CC BY-NC 4.0"
# Zenodo's record 1203745, by the authors; its md5 as soundata has it.
ARCHIVES: Final = {
    "UrbanSound8K": (
        "https://zenodo.org/records/1203745/files/UrbanSound8K.tar.gz",
        "md5:9aa69802bbf37fb986f71ec1483a196e",
        6_023_741_708,
        "",
    ),
}


@dataclass(frozen=True)
class UrbanSound8k:
    """Rows with the labels `event`, `source` (the Freesound recording) and `salience` (foreground, background).

    `fold` is tested, as its authors ask for, never a draw of one's own; recordings with about the share `valid` of the
    other clips are held out. A recording stands in one fold, which is checked.
    """

    root: str
    fold: int = 10
    valid: float = 0.1
    seed: int = 0

    disjoint: ClassVar[str | None] = "source"
    stratify: ClassVar[str | None] = "event"

    def rows(self) -> list[Row]:
        """Returns the rows with splits, by id."""
        root = _read.root(self.root, [TABLE, "audio"], GET, "UrbanSound8K")
        lines = _read.table(root / TABLE, COLUMNS)
        wrong = [f"{line['slice_file_name']}: fold '{line['fold']}'" for line in lines if line["fold"] not in FOLDS]
        _read.refuse(root / TABLE, wrong)
        rows = [
            Row(
                line["slice_file_name"].removesuffix(".wav"),
                str(root / "audio" / f"fold{line['fold']}" / line["slice_file_name"]),
                {"event": line["class"], "source": line["fsID"], "salience": SALIENCE.get(line["salience"], "")},
                fold=int(line["fold"]),
            )
            for line in lines
        ]
        return by_fold(_read.ordered(rows, root), self.fold, self.valid, self.seed, "source", "event")


FOLDS: Final = {str(number) for number in range(1, 11)}
SALIENCE: Final = {"1": "foreground", "2": "background"}
