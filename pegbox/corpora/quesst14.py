"""QUESST 2014: spoken queries and the recordings they occur in (MediaEval 2014), as SUPERB uses it."""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from pegbox.corpora import _read
from pegbox.rows import Row

LISTS: Final = {"utterances": "train", "dev": "valid", "eval": "test"}
GET: Final = (
    "unpack https://speech.fit.vutbr.cz/files/quesst14Database.tgz so that Audio/, dev_queries/, eval_queries/ and "
    "scoring/language_key_utterances.lst lie here"
)
LICENCE: Final = "see its documents"
# The checksum is torchaudio's.
ARCHIVES: Final = {
    "quesst14Database": (
        "https://speech.fit.vutbr.cz/files/quesst14Database.tgz",
        "sha256:4f869e06bc066bbe9c5dde31dbd3909a0870d70291110ebbb38878dcbc2fc5e4",
        0,
        "",
    ),
}


@dataclass(frozen=True)
class Quesst14:
    """Rows with the labels `role` (document or query), `language`, and a query's `documents`, ids joined by ','.

    Queries of dev validate, those of eval are tested. Both search the same documents, which stand in the training
    split, though the task trains nothing. `language` keeps one, as SUPERB does with non-native English; "" is all.
    """

    root: str
    language: str = "nnenglish"

    disjoint: ClassVar[str | None] = None
    stratify: ClassVar[str | None] = None

    def rows(self) -> list[Row]:
        """Returns the rows with splits, by id."""
        root = _read.root(self.root, [f"scoring/language_key_{part}.lst" for part in LISTS], GET, "quesst14Database")
        rows, faults = list[Row](), list[str]()
        for part, split in LISTS.items():
            role = "document" if part == "utterances" else "query"
            heard = _heard(root, part) if role == "query" else {}
            for line in _read.lines(root / "scoring" / f"language_key_{part}.lst"):
                path, language = (*line.split(), "", "")[:2]
                if Path(path).suffix.lower() != ".wav" or not language:
                    faults.append(f"language_key_{part}.lst: '{line.strip()}' is no sound and its language")
                elif self.language in ("", language):
                    name, inside = Path(path).stem, Path(*Path(path).parts[1:])  # of quesst14Database/…
                    labels = {"role": role, "language": language}
                    labels |= {"documents": ",".join(sorted(heard[name]))} if name in heard else {}
                    rows.append(Row(name, str(root / inside), labels, split))
        _read.refuse(root, faults)
        known = {row.id for row in rows if row.labels["role"] == "document"}
        return _read.ordered((_only(row, known) for row in rows), f"{root} with the language '{self.language}'")


def _heard(root: Path, part: str) -> dict[str, set[str]]:
    """Returns query → documents of the ground truth: lines of `LEXEME document … query …`."""
    found = defaultdict[str, set[str]](set)
    for line in _read.lines(root / "scoring" / f"groundtruth_quesst14_{part}" / f"quesst14_{part}.rttm"):
        cells = line.split()
        query = next((cell for cell in cells[2:] if cell.startswith(f"quesst14_{part}_")), "")
        if cells[0] == "LEXEME" and query:
            found[query].add(cells[1])
    return found


def _only(row: Row, known: set[str]) -> Row:
    """Returns a row whose documents are those of the language that is kept."""
    kept = [name for name in row.labels.get("documents", "").split(",") if name in known]
    rest = {key: value for key, value in row.labels.items() if key != "documents"}
    return Row(row.id, row.audio, rest | ({"documents": ",".join(kept)} if kept else {}), row.split)
