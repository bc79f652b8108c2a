"""FLEURS: the sentences of FLoRes read in 102 languages (Conneau et al., arXiv:2205.12446)."""

from dataclasses import dataclass
from typing import ClassVar, Final

from pegbox.corpora import _read
from pegbox.rows import Row

PARTS: Final = {"train": "train", "dev": "valid", "test": "test"}
GET: Final = (
    "fetch data/<language> of https://huggingface.co/datasets/google/fleurs and unpack its archives so that train.tsv "
    "and audio/train/ and so on lie here"
)


@dataclass(frozen=True)
class Fleurs:
    """Rows of a language's folder with the labels `transcript`, `raw` (as written), `sentence` (its number), `gender`.

    The official parts. A sentence is read by up to a few people, who are not named.
    """

    root: str

    disjoint: ClassVar[str | None] = None
    stratify: ClassVar[str | None] = None

    def rows(self) -> list[Row]:
        """Returns the rows with splits, by id."""
        root = _read.root(self.root, [name for part in PARTS for name in (f"{part}.tsv", f"audio/{part}")], GET)
        rows, faults = list[Row](), list[str]()
        for part, split in PARTS.items():
            for number, line in enumerate(_read.lines(root / f"{part}.tsv"), 1):
                cells = line.split("\t")  # without a header and without quotes
                if len(cells) != 7:
                    faults.append(f"{part}.tsv: line {number} has {len(cells)} cells, not 7")
                    continue
                sentence, name, raw, said, _, _, gender = (cell.strip() for cell in cells)
                labels = {"transcript": said, "raw": raw, "sentence": sentence, "gender": gender.lower()}
                rows.append(Row(f"{part}/{name}", str(root / "audio" / part / name), labels, split))
        _read.refuse(root, faults)
        return _read.ordered(rows, root)
