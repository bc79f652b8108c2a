"""What is to be run, in which order, and what follows from it: sweeps of rates first, then the runs that count."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from pegbox.bench.matrix import Cell, Group
from pegbox.bench.store import Store
from pegbox.bench.work import Outcome
from pegbox.errors import RecipeError
from pegbox.training.loop import better

Key = tuple[str, str, str]
Sizes = Mapping[Key, float]
Existing = Literal["only-missing", "always", "never", "only-cache"]


class Board:
    """Hands out runs and takes back what became of them.

    `existing`: with `only-missing` what is finished is kept and the rest runs; `always` runs all anew; `never` refuses
    a folder that holds any of them; `only-cache` runs nothing and counts what is there. `sizes` are the bytes that a
    run of each group needs, `room` is what those that run at once may need together; one alone may always run.
    """

    def __init__(self, groups: Sequence[Group], store: Store, existing: Existing, sizes: Sizes, room: float) -> None:
        self.store, self.existing, self.sizes, self.room = store, existing, sizes, room
        self.waiting: list[Cell] = []
        self.running: list[Cell] = []
        self.done: dict[str, Cell] = {}  # by name; those that count or chose a rate
        self.failed: dict[str, str] = {}  # name of a run: why
        self.rates: dict[Key, float] = {}
        self._groups = {group.key: group for group in groups}
        self._sweeps = {group.key: group.sweep() for group in groups}
        self._finals: dict[Key, list[Cell]] = {}
        if existing in ("always", "never"):
            self._meet(existing)
        for key in self._groups:
            self._advance(key)

    @property
    def over(self) -> bool:
        """Nothing waits and nothing runs."""
        return not self.waiting and not self.running

    def take(self, last: Cell | None = None) -> Cell | None:
        """Returns a run to do now: one that shares most with the last one of the same worker, else of a free group."""
        taken = sum(self.sizes[cell.key] for cell in self.running)
        fitting = [cell for cell in self.waiting if not self.running or taken + self.sizes[cell.key] <= self.room]
        if not fitting:
            return None
        busy = {(each.backbone, each.recipe.corpus) for each in self.running}

        def order(cell: Cell) -> tuple[bool, bool, bool]:
            place = (cell.backbone, cell.recipe.corpus)
            near = last is not None and place == (last.backbone, last.recipe.corpus)
            return (not near, place in busy, last is not None and cell.backbone != last.backbone)

        chosen = min(fitting, key=order)
        self.waiting.remove(chosen)
        self.running.append(chosen)
        return chosen

    def give(self, cell: Cell, outcome: Outcome) -> None:
        """Takes back what became of a run."""
        self.running.remove(cell)
        if outcome.state == "elsewhere":
            self.waiting.append(cell)
            return
        if outcome.state == "failed":
            self.failed[cell.name] = outcome.problem
        else:
            self.store.fetch(cell)
            self.done[cell.name] = cell
        self._advance(cell.key)

    def finals(self) -> list[Cell]:
        """Returns the runs that count, done or not, as far as their rates are chosen."""
        return [cell for cells in self._finals.values() for cell in cells]

    def total(self) -> int:
        """Returns how many runs there are in all; one of a sweep that is chosen counts once."""
        return sum(group.count for group in self._groups.values())

    def _advance(self, key: Key) -> None:
        group, sweep = self._groups[key], self._sweeps[key]
        if key in self.rates:
            return
        self._add(sweep, "sweep")
        if any(cell.name not in self.done and cell.name not in self.failed for cell in sweep):
            return
        if sweep and not any(cell.name in self.done for cell in sweep):
            return  # none of its rates trains: the failures say why
        self.rates[key] = self._best(sweep) if sweep else group.rates[0]
        self._finals[key] = group.finals(self.rates[key])
        self._add(self._finals[key], "final")

    def _add(self, cells: Iterable[Cell], role: Literal["sweep", "final"]) -> None:
        known = {*self.done, *self.failed, *(cell.name for cell in (*self.waiting, *self.running))}
        for cell in cells:
            self.store.fetch(cell)
            if self.store.state(cell) == "done":
                self.store.mark(cell, role)
                self.done[cell.name] = cell
            elif self.existing == "only-cache":
                self.failed.setdefault(cell.name, "not run yet")
            elif cell.name not in known:
                self.store.open(cell)
                self.store.mark(cell, role)
                self.waiting.append(cell)

    def _best(self, sweep: Sequence[Cell]) -> float:
        """Returns the rate with the best validation score; a tie goes to the one nearest to the method's own."""
        best: Cell | None = None
        top: float | None = None
        for cell in sorted(sweep, key=lambda each: abs(math.log(each.rate))):
            if cell.name in self.done:
                result = self.store.result(cell)
                score = float(result["scores"]["valid"][result["metric"]])
                if best is None or better(result["better"], score, top):
                    best, top = cell, None if math.isnan(score) else score
        assert best is not None
        return best.rate

    def _meet(self, existing: Existing) -> None:
        cells = [cell for group in self._groups.values() for rate in group.rates for cell in group.finals(rate)]
        there = [cell for cell in cells if self.store.state(cell) != "missing"]
        if existing == "never" and there:
            raise RecipeError(
                f"{self.store.out}: holds {len(there)} of these runs already, such as {there[0].name}; "
                "take another --out, or --existing only-missing"
            )
        for cell in there:
            self.store.forget(cell)
