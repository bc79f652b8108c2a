"""Any labelled audio that a CSV or JSONL table names: a column for the file, every other column a label."""

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import isfinite, nan
from pathlib import Path

from pegbox.corpora._draw import SPLIT_NAMES, draw
from pegbox.errors import CorpusError, nearest
from pegbox.rows import Row


@dataclass(frozen=True)
class Manifest:
    """Rows of a table; `filter` keeps rows whose columns have these values.

    Audio paths are relative to `root`, or to the table's folder. `audio`, `id`, `split`, `fold`, `start` and `end`
    name columns; of the last four, those of the usual names may be missing. Without splits, `test` and `valid` are
    drawn as shares; with splits but no validation part, only that is drawn. `disjoint` names a label, such as a
    speaker's, of which no value may stand in two splits; `stratify` one over whose values a draw is even.
    """

    path: str
    root: str | None = None
    filter: dict[str, str] = field(default_factory=dict)
    audio: str = "path"
    id: str | None = None
    split: str = "split"
    fold: str = "fold"
    start: str = "start"
    end: str = "end"
    disjoint: str | None = None
    valid: float = 0.1
    test: float = 0.0
    seed: int = 0
    stratify: str | None = None

    def rows(self) -> list[Row]:
        """Returns the kept rows with splits, by id."""
        table = list(_table(Path(self.path)))
        if not table:
            raise CorpusError(f"{self.path}: the manifest is empty; it needs a header and at least one row")
        known = {key for _, line in table for key in line}
        for column in self._columns():
            if column not in known:
                raise CorpusError(f"{self.path}: no column '{column}'{nearest(column, known)}")
        kept = [(n, line) for n, line in table if all(line.get(key) == value for key, value in self.filter.items())]
        if not kept:
            raise CorpusError(f"{self.path}: the filter {self.filter} leaves none of {len(table)} rows")
        rows = sorted((self._row(number, line) for number, line in kept), key=lambda row: row.id)
        return draw(rows, self.valid, self.test, self.seed, self.disjoint, self.stratify)

    def _columns(self) -> list[str]:
        """Returns the columns that the table must have: all that are asked for."""
        places = ((self.split, "split"), (self.fold, "fold"), (self.start, "start"), (self.end, "end"))
        wanted = [self.audio, *self.filter, *(own for own, usual in places if own != usual)]
        return wanted + [name for name in (self.id, self.disjoint, self.stratify) if name is not None]

    def _row(self, number: int, line: Mapping[str, str]) -> Row:
        place = f"{self.path}: line {number}"
        for column in (self.audio, *([self.id] if self.id else [])):
            if not line.get(column):
                raise CorpusError(f"{place}: the column '{column}' is empty")
        split = line.get(self.split, "").lower()
        if split and split not in SPLIT_NAMES:
            raise CorpusError(f"{place}: unknown split '{split}'{nearest(split, SPLIT_NAMES)}")
        used = {self.audio, self.split, self.fold, self.start, self.end}
        end = _number(line.get(self.end, ""), place, self.end)
        fold = _number(line.get(self.fold, ""), place, self.fold)
        start = _number(line.get(self.start, ""), place, self.start) or 0.0
        if fold is not None and not fold.is_integer():
            raise CorpusError(f"{place}: '{self.fold}' is not a whole number: {fold}")
        return Row(
            id=line[self.id] if self.id else line[self.audio] + _part(start, end),
            audio=str(Path(self.root if self.root is not None else Path(self.path).parent) / line[self.audio]),
            labels={key: value for key, value in line.items() if key not in used and value},
            split=SPLIT_NAMES.get(split, ""),
            fold=None if fold is None else int(fold),
            start=start,
            end=end,
        )


def _table(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from _jsonl(path, file) if path.suffix in (".jsonl", ".json") else _csv(path, file)
    except FileNotFoundError:
        raise CorpusError(f"{path}: no such manifest") from None
    except (OSError, ValueError) as problem:  # ValueError: bytes that are no UTF-8, a name with a null byte
        raise CorpusError(f"{path}: cannot be read as text ({problem})") from None


def _csv(path: Path, file: Iterator[str]) -> Iterator[tuple[int, dict[str, str]]]:
    reader = csv.reader(file, strict=True)
    try:
        header = next(reader, [])
        twice = sorted({name for name in header if header.count(name) > 1})
        if twice:
            raise CorpusError(f"{path}: columns of one name: {twice}; rename all but one")
        for cells in reader:
            if not cells:
                continue  # a blank line
            if len(cells) != len(header):
                raise CorpusError(
                    f"{path}: line {reader.line_num} has {len(cells)} cells, the header has {len(header)}; "
                    "quote cells that hold commas"
                )
            yield reader.line_num, dict(zip(header, cells, strict=True))
    except csv.Error as problem:
        raise CorpusError(f"{path}: line {reader.line_num}: {problem}") from None


def _jsonl(path: Path, file: Iterator[str]) -> Iterator[tuple[int, dict[str, str]]]:
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            found = json.loads(line)
        except (ValueError, RecursionError) as problem:
            raise CorpusError(f"{path}: line {number}: not JSON ({problem})") from None
        if not isinstance(found, dict):
            raise CorpusError(f"{path}: line {number}: expected an object, found {line.strip()[:40]!r}")
        yield number, {str(key): "" if value is None else str(value) for key, value in found.items()}


def _part(start: float, end: float | None) -> str:
    """Returns what tells a part of a file from its other parts, to the microsecond."""
    if not start and end is None:
        return ""
    return f":{start:.12g}-" + ("" if end is None else f"{end:.12g}")


def _number(text: str, place: str, column: str) -> float | None:
    try:
        number = float(text) if text else None
    except ValueError:
        number = nan
    if number is not None and not isfinite(number):
        raise CorpusError(f"{place}: '{column}' is not a number: {text!r}")
    return number
