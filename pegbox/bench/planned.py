"""Runs of the matrix in a folder that are not done: which run now, which wait, and what cannot be; no torch."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pegbox.bench import matrix
from pegbox.bench.matrix import Cell, Group
from pegbox.bench.recorded import CELL, MATRIX, STATUS, Place, Role, held, place_of, read_json, role_of, run_of, state

Standing = Literal["running", "waiting", "skipped"]


@dataclass(frozen=True)
class Planned:
    """A run that is to be done, or a combination that cannot be, with the reason. A rate that a sweep has yet to
    choose is no number."""

    place: Place
    state: Standing
    role: Role = "final"
    reason: str = ""


def planned(out: Path) -> list[Planned]:
    """Returns what the folder of a matrix lacks, in the matrix's order.

    Raises:
        PegboxError: its files cannot be read.
    """
    skipped = {tuple(key): reason for *key, reason in read_json(out / STATUS).get("skipped", [])}
    found: list[Planned] = []
    for group in matrix.product(matrix.read(out / MATRIX)):
        if group.key in skipped:
            first = group.cell(*group.trials[0], group.rates[0])
            found.append(Planned(_place(first), "skipped", reason=skipped[group.key]))
        else:
            found += _of(group, out)
    return found


def _of(group: Group, out: Path) -> Iterator[Planned]:
    sweep, rate = group.sweep(), _chosen(group, out)
    yield from (Planned(_place(cell), _standing(cell, out), "sweep") for cell in sweep if _open(cell, out))
    if rate is not None:
        finals = group.finals(rate)
        yield from (Planned(_place(cell), _standing(cell, out)) for cell in finals if _open(cell, out))
    elif not all(_state(cell, out) == "failed" for cell in sweep):
        later = group.finals(group.rates[0])[1:]  # the first trial's is one of the sweep
        yield from (Planned(replace(_place(cell), rate=math.nan), "waiting") for cell in later)


def _chosen(group: Group, out: Path) -> float | None:
    """Returns the rate of the runs that count, once it is known."""
    if len(group.rates) == 1:
        return group.rates[0]
    for rate in group.rates:
        files = [run_of(out, cell.name) / CELL for cell in group.finals(rate)]
        if any(role_of(read_json(file)) == "final" for file in files if file.exists()):
            return rate
    return None


def _open(cell: Cell, out: Path) -> bool:
    return _state(cell, out) not in ("done", "failed")


def _state(cell: Cell, out: Path) -> str:
    return state(run_of(out, cell.name))


def _standing(cell: Cell, out: Path) -> Standing:
    return "running" if held(out, cell.identity) else "waiting"


def _place(cell: Cell) -> Place:
    return place_of(cell.fields)
