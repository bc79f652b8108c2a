"""FSD50K: sounds of 200 AudioSet classes, several a clip (Fonseca et al., arXiv:2010.00475)."""

from dataclasses import dataclass
from typing import ClassVar, Final

from pegbox.corpora import _read
from pegbox.rows import Row

PARTS: Final = {"dev": {"train": "train", "val": "valid"}, "eval": {"": "test"}}
GET: Final = "unpack https://zenodo.org/records/4060432 so that FSD50K.dev_audio/ and FSD50K.ground_truth/ lie here"


@dataclass(frozen=True)
class Fsd50k:
    """Rows with the label `tags`, the classes of a clip joined by ','; the official train, val and eval parts.

    Every class must stand in `vocabulary.csv`.
    """

    root: str

    disjoint: ClassVar[str | None] = None
    stratify: ClassVar[str | None] = None

    def rows(self) -> list[Row]:
        """Returns the rows with splits, by id."""
        tables = [f"FSD50K.ground_truth/{name}.csv" for name in (*PARTS, "vocabulary")]
        root = _read.root(self.root, [*tables, *(f"FSD50K.{part}_audio" for part in PARTS)], GET)
        known = {line.split(",")[1] for line in _read.lines(root / tables[-1]) if line.count(",") == 2}
        rows, faults = list[Row](), list[str]()
        for (part, splits), table in zip(PARTS.items(), tables, strict=False):
            for line in _read.table(root / table, ("fname", "labels", *(["split"] if part == "dev" else []))):
                strange = {*line["labels"].split(",")} - known
                split = line.get("split", "")
                if strange or split not in splits:
                    what = f"classes {sorted(strange)}" if strange else f"split '{split}'"
                    faults.append(f"{part}.csv: {line['fname']}: unknown {what}")
                    continue
                path = root / f"FSD50K.{part}_audio" / f"{line['fname']}.wav"
                rows.append(Row(f"{part}/{line['fname']}", str(path), {"tags": line["labels"]}, splits[split]))
        _read.refuse(root / "FSD50K.ground_truth", faults)
        return _read.ordered(rows, root)
