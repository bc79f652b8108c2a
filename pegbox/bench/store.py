"""Where a matrix's runs lie: a folder a run, named by what it is; done, failed, begun or missing by its files alone."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock

from pegbox import recipe as recipe_
from pegbox.bench import recorded
from pegbox.bench.matrix import Cell, Matrix, dumps
from pegbox.bench.mirror import Mirror
from pegbox.bench.recorded import CELL, ERROR, MATRIX, RECIPE, RESULT, STATUS, Recorded, Role, State, read_json
from pegbox.surgery import put

Key = tuple[str, str, str]


@dataclass(frozen=True)
class Store:
    """The folder of a matrix."""

    out: Path
    mirror: Mirror = field(default_factory=Mirror)

    def keep(self, matrix: Matrix, total: int, workers: int, looked: Mapping[Key, str]) -> None:
        """Writes the resolved matrix beside its runs, how many there will be, and what cannot be and why.

        `looked`: the reason by group, empty where it can be; what other shares of the matrix have said stays.
        """
        with self.lock_of("status"):
            before = read_json(self.out / STATUS).get("skipped", []) if (self.out / STATUS).exists() else []
            skipped = [each for each in before if tuple(each[:3]) not in looked]
            skipped += [[*key, reason] for key, reason in looked.items() if reason]
            told = {"name": matrix.name, "total": total, "workers": workers, "skipped": skipped}
            put(self.out / MATRIX, dumps(matrix))
            put(self.out / STATUS, json.dumps(told))

    def place(self, cell: Cell) -> Path:
        """Returns the folder of a run."""
        return recorded.run_of(self.out, cell.name)

    def fetch(self, cell: Cell) -> None:
        """Brings here what the mirror has of a run."""
        self.mirror.fetch(self.place(cell))

    def state(self, cell: Cell) -> State:
        """Returns how far a run has come."""
        return recorded.state(self.place(cell))

    def lock(self, cell: Cell) -> FileLock:
        """Returns the lock that whoever works on a run holds; the system frees it when they die."""
        return self.lock_of(cell.identity)

    def lock_of(self, identity: str) -> FileLock:
        """Returns the lock of a run by its identity."""
        file = recorded.lock_of(self.out, identity)
        file.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(file)

    def open(self, cell: Cell) -> Path:
        """Makes a run's folder with its recipe, and forgets an earlier failure."""
        place = self.place(cell)
        place.mkdir(parents=True, exist_ok=True)
        put(place / RECIPE, recipe_.dumps(cell.recipe))
        (place / ERROR).unlink(missing_ok=True)
        return place

    def mark(self, cell: Cell, role: Role) -> None:
        """Writes beside a run which cell it is, and whether it counts or only chose a rate."""
        put(self.place(cell) / CELL, json.dumps(cell.fields | {"recipe": cell.identity, "role": role}, indent=1))

    def fail(self, cell: Cell, kind: str, message: str) -> None:
        """Records why a run came to nothing."""
        put(self.open(cell) / ERROR, json.dumps({"kind": kind, "message": message}, indent=1))

    def result(self, cell: Cell) -> dict[str, Any]:
        """Returns a finished run's result."""
        return read_json(self.place(cell) / RESULT)

    def recorded(self, cell: Cell) -> Recorded:
        """Returns a finished run as tables and reports see it."""
        found = recorded.load(self.place(cell), cell.name)
        assert found is not None, "a cell is one trial"
        return found

    def problem(self, cell: Cell) -> str:
        """Returns why a run failed."""
        return str(read_json(self.place(cell) / ERROR)["message"])

    def forget(self, cell: Cell) -> None:
        """Removes all that is there of a run."""
        shutil.rmtree(self.place(cell), ignore_errors=True)
