"""How far a matrix is, seen from outside by its files."""

from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from pegbox.bench.recorded import CELL, RESULT, STATUS, Place, held, place_of, read_json, state
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
    status = read_json(out / STATUS)
    sight = Sight(status["total"], status["workers"])
    for file in sorted((out / "runs").glob(f"*/{CELL}")):
        told, come = read_json(file), state(file.parent)
        place = place_of(told)
        if come == "done":
            _count(sight, place, read_json(file.parent / RESULT))
        elif come == "failed":
            sight.failed += 1
        elif held(out, told["recipe"]):
            sight.running.append(place.told)
    sight.total = max(sight.total, sight.done + sight.failed + len(sight.running))
    return sight


def _count(sight: Sight, place: Place, result: dict[str, Any]) -> None:
    sight.done += 1
    sight.seconds.append(sum(result["seconds"].values()))
    score = result["scores"]["valid"][result["metric"]]
    known = sight.best.get(place.task)
    if score is not None and better(result["better"], score, known and known[2]):
        sight.best[place.task] = (result["metric"], f"{place.method} ({place.backbone})", score)
