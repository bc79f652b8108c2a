"""Published numbers: what papers, leaderboards and logs say, with how sure that is and which defects are known.

A file a source. A table has columns (task, metric, unit) and rows of values; what holds for a whole table stands there
once, and a row may override it. The report shows them beside own runs of the same suite and never among them.
"""

import math
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, get_args

from pegbox.errors import PegboxError

Certainty = Literal["verified", "logged", "reported", "quoted", "uncertain"]
CERTAINTIES: Final[Mapping[str, str]] = {
    "verified": "public data or logs, checked",
    "logged": "in the authors' own training logs",
    "reported": "in the authors' paper, abstract or README",
    "quoted": "quoted from the paper by others",
    "uncertain": "unfinished, rounded or of a doubtful source",
}
_TABLE: Final = {"name", "suite", "certainty", "columns", "rows", "backbone", "method", "note", "defect"}
_ROW: Final = {"values", "deviations", "backbone", "method", "trained", "certainty", "note", "defect"}
_PLACE: Final = Path(__file__).parent


@dataclass(frozen=True)
class Number:
    """One published number. `unit` "%" is in hundredths, "" a plain number; `defect` says what is wrong with it."""

    source: str
    reference: str
    table: str
    suite: str
    backbone: str
    method: str
    task: str
    metric: str
    value: float
    deviation: float | None
    unit: str
    trained: int | None
    certainty: Certainty
    note: str
    defect: str


def read() -> list[Number]:
    """Returns every number of every file, in their order."""
    return [number for path in sorted(_PLACE.glob("*.toml")) for number in read_file(path)]


def read_file(path: Path) -> list[Number]:
    """Returns the numbers of one file.

    Raises:
        PegboxError: naming file, table and field where a key, a length or a type is not as it should be.
    """
    told = tomllib.loads(path.read_text(encoding="utf-8"))
    tables = told.get("tables", [])
    _need(set(told) == {"source", "reference", "tables"} and tables, path.name, "source, reference and tables")
    return [number for table in tables for number in _numbers(path.name, told, table)]


def _numbers(file: str, told: Mapping[str, Any], table: Mapping[str, Any]) -> Iterator[Number]:
    where = f"{file}: table '{table.get('name')}'"
    _need(set(table) <= _TABLE and {"name", "suite", "certainty", "columns", "rows"} <= set(table), where, "its keys")
    for row in table["rows"]:
        given = {**{key: table[key] for key in _ROW & set(table)}, **row}
        _check(f"{where}, row {given.get('backbone')}, {given.get('method')}", row, given, len(table["columns"]))
        deviations = row.get("deviations", [None] * len(row["values"]))
        for column, value, deviation in zip(table["columns"], row["values"], deviations, strict=True):
            if not math.isnan(value):
                yield Number(
                    source=told["source"],
                    reference=told["reference"],
                    table=table["name"],
                    suite=table["suite"],
                    backbone=given["backbone"],
                    method=given["method"],
                    **_column(where, column),
                    value=float(value),
                    deviation=deviation,
                    trained=given.get("trained"),
                    certainty=given["certainty"],
                    note=given.get("note", ""),
                    defect=given.get("defect", ""),
                )


def _column(where: str, column: Mapping[str, str]) -> dict[str, str]:
    _need(set(column) == {"task", "metric", "unit"}, where, "columns of task, metric and unit")
    return dict(column)


def _check(where: str, row: Mapping[str, Any], given: Mapping[str, Any], columns: int) -> None:
    _need(set(row) <= _ROW and {"backbone", "method"} <= set(given), where, "backbone, method and known keys")
    _need(len(row["values"]) == columns, where, f"{columns} values, nan where there is none")
    _need(given["certainty"] in get_args(Certainty), where, f"a certainty among {', '.join(get_args(Certainty))}")


def _need(right: bool, where: str, what: str) -> None:
    if not right:
        raise PegboxError(f"{where}: needs {what}")
