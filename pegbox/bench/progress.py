"""How far a matrix is, seen from outside by its files."""

from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from filelock import Timeout

from pegbox.bench.store import CELL, ERROR, RESULT, STATUS, Store, read_json
from pegbox.errors import RecipeError
from pegbox.training.loop import better


@dataclass
class Sight:
    """What one look saw."""

    total: int
    workers: int
    done: int = 0
    failed: int = 0
    running: list[str] = field(default_factory=list)
    best: dict[str, tuple[str, str, float]] = field(default_factory=dict)  # task: metric, who, validation score
    seconds: list[float] = field(default_factory=list)

    @property
    def left(self) -> int:
        """Runs that neither ended nor failed."""
        return max(self.total - self.done - self.failed, 0)

    def told(self) -> list[tuple[str, str]]:
        """Returns what a person wants to know, as names and values."""
        lines = [("running", name) for name in self.running] or [("running", "nothing")]
        lines += [("waiting", str(max(self.left - len(self.running), 0))), ("failed", str(self.failed))]
        if self.left and self.seconds:
            minutes = fmean(self.seconds) * self.left / self.workers / 60
            lines.append(("time left", f"about {minutes:,.0f} minutes"))
        best = sorted(self.best.items())
        return lines + [(f"best on {task}", f"{who}: {metric} {score:.4f}") for task, (metric, who, score) in best]


def see(out: Path) -> Sight:
    """Returns how far the runs in a folder are.

    Raises:
        RecipeError: when it is not the folder of a matrix.
    """
    if not (out / STATUS).exists():
        raise RecipeError(f"{out}: no matrix runs here; name the folder that 'pegbox bench' was given as --out")
    status, store = read_json(out / STATUS), Store(out)
    sight = Sight(status["total"], status["workers"])
    for file in sorted((out / "runs").glob(f"*/{CELL}")):
        cell, place = read_json(file), file.parent
        if (place / RESULT).exists():
            _count(sight, cell, read_json(place / RESULT))
        elif (place / ERROR).exists():
            sight.failed += 1
        elif _held(store, cell["recipe"]):
            sight.running.append(_name(cell))
    sight.total = max(sight.total, sight.done + sight.failed + len(sight.running))
    return sight


def _count(sight: Sight, cell: dict[str, Any], result: dict[str, Any]) -> None:
    sight.done += 1
    sight.seconds.append(sum(result["seconds"].values()))
    score = result["scores"]["valid"][result["metric"]]
    known = sight.best.get(cell["task"])
    if score is not None and better(result["better"], score, known and known[2]):
        sight.best[cell["task"]] = (result["metric"], f"{cell['method']} ({cell['backbone']})", score)


def _held(store: Store, identity: str) -> bool:
    try:
        with store.lock_of(identity).acquire(timeout=0):
            return False
    except Timeout:
        return True


def _name(cell: dict[str, Any]) -> str:
    fold = "" if cell["fold"] is None else f", fold {cell['fold']}"
    return f"{cell['task']}: {cell['method']} on {cell['backbone']}, seed {cell['seed']}{fold}"
