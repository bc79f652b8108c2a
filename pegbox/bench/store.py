"""Where a matrix's runs lie: a folder a run, named by what it is; done, failed, begun or missing by its files alone."""

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from filelock import FileLock

from pegbox import recipe as recipe_
from pegbox.bench.matrix import Cell, Matrix, dumps
from pegbox.bench.mirror import Mirror
from pegbox.errors import PegboxError
from pegbox.surgery import put

State = Literal["done", "failed", "begun", "missing"]
CELL: Final = "cell.json"
ERROR: Final = "error.json"
STATUS: Final = "status.json"
RESULT: Final = "result.json"


@dataclass(frozen=True)
class Store:
    """The folder of a matrix."""

    out: Path
    mirror: Mirror = field(default_factory=Mirror)

    def keep(self, matrix: Matrix, total: int, workers: int) -> None:
        """Writes the resolved matrix beside its runs, and how many there will be."""
        self.out.mkdir(parents=True, exist_ok=True)
        put(self.out / "matrix.toml", dumps(matrix))
        put(self.out / STATUS, json.dumps({"name": matrix.name, "total": total, "workers": workers}))

    def place(self, cell: Cell) -> Path:
        """Returns the folder of a run."""
        return self.out / "runs" / cell.name

    def fetch(self, cell: Cell) -> None:
        """Brings here what the mirror has of a run."""
        self.mirror.fetch(self.place(cell))

    def state(self, cell: Cell) -> State:
        """Returns how far a run has come."""
        place = self.place(cell)
        if (place / RESULT).exists():
            return "done"
        if (place / ERROR).exists():
            return "failed"
        return "begun" if place.exists() else "missing"

    def lock(self, cell: Cell) -> FileLock:
        """Returns the lock that whoever works on a run holds; the system frees it when they die."""
        return self.lock_of(cell.identity)

    def lock_of(self, identity: str) -> FileLock:
        """Returns the lock of a run by its identity."""
        folder = self.out / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        return FileLock(folder / f"{identity}.lock")

    def open(self, cell: Cell) -> Path:
        """Makes a run's folder with its recipe, and forgets an earlier failure."""
        place = self.place(cell)
        place.mkdir(parents=True, exist_ok=True)
        put(place / "recipe.toml", recipe_.dumps(cell.recipe))
        (place / ERROR).unlink(missing_ok=True)
        return place

    def mark(self, cell: Cell, role: Literal["sweep", "final"]) -> None:
        """Writes beside a run which cell it is, and whether it counts or only chose a rate."""
        put(self.place(cell) / CELL, json.dumps(cell.place | {"recipe": cell.identity, "role": role}, indent=1))

    def fail(self, cell: Cell, kind: str, message: str) -> None:
        """Records why a run came to nothing."""
        put(self.open(cell) / ERROR, json.dumps({"kind": kind, "message": message}, indent=1))

    def result(self, cell: Cell) -> dict[str, Any]:
        """Returns a finished run's result."""
        return read_json(self.place(cell) / RESULT)

    def problem(self, cell: Cell) -> str:
        """Returns why a run failed."""
        return str(read_json(self.place(cell) / ERROR)["message"])

    def forget(self, cell: Cell) -> None:
        """Removes all that is there of a run."""
        shutil.rmtree(self.place(cell), ignore_errors=True)


def read_json(path: Path) -> dict[str, Any]:
    """Returns what a JSON file holds.

    Raises:
        PegboxError: when it is not readable.
    """
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise PegboxError(f"{path} cannot be read: {problem}; remove its folder to run it again") from None
    return found
