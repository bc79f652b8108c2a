"""What a matrix would do, before any of it runs: which runs cannot be, and what the others will cost."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pegbox.bench.matrix import Cell, Group
from pegbox.bench.store import Store
from pegbox.errors import PegboxError
from pegbox.recipe import Recipe
from pegbox.training import pace as pace_
from pegbox.training.pace import Network, Pace
from pegbox.training.plans import Plan, plan
from pegbox.training.prepare import frozen_precision
from pegbox.training.session import threads

_ITEM: Final = 4  # bytes of a trained number
_LIBRARIES: Final = 600 * 2**20  # bytes of a process that has loaded them
Paces = Callable[[Recipe, bool], Pace]  # of a recipe, and whether its method stands beside the network


@dataclass(frozen=True)
class Outlook:
    """One method on one task with one backbone: its runs, and its plan, or why it cannot be."""

    group: Group
    cells: tuple[Cell, ...]
    plan: Plan | None
    refused: str = ""

    @property
    def runs(self) -> int:
        """How many runs it has."""
        return len(self.cells)

    @property
    def artefact_bytes(self) -> int:
        """What its runs leave behind in trained numbers, an estimate."""
        if self.plan is None:
            return 0
        return self.runs * _ITEM * sum(self.plan.parameters[part] for part in ("delta", "layers", "head"))

    @property
    def memory_bytes(self) -> int:
        """What a process that does one of its runs needs: the libraries, the network, its activations, an estimate."""
        return _LIBRARIES + (self.plan.memory_bytes if self.plan else 0)


@dataclass(frozen=True)
class Total:
    """The sums of a matrix."""

    runs: int
    left: int
    refused: int
    minutes: float
    measured: bool  # minutes follow runs that are finished, not a short test of this machine alone
    memory_bytes: int  # of the largest run
    cache_bytes: int
    artefact_bytes: int


def look(groups: Sequence[Group]) -> Iterator[Outlook]:
    """Yields what each group would do, with the network on the meta device."""
    for group in groups:
        cells = tuple({cell.name: cell for cell in (*group.finals(group.rates[0]), *group.sweep())}.values())
        try:
            yield Outlook(group, cells, plan(cells[0].recipe))
        except PegboxError as problem:
            yield Outlook(group, cells, None, str(problem))


def total(outlooks: Sequence[Outlook], store: Store, workers: int, paces: Paces) -> Total:
    """Returns the sums. Minutes follow from the paces of this machine and from what finished runs really took."""
    possible = [each for each in outlooks if each.plan]
    caches: dict[tuple[str, str], int] = {}
    for each in possible:
        place = (each.group.backbone, each.group.entry.corpus)
        caches[place] = max(caches.get(place, 0), each.plan.cache_bytes if each.plan else 0)
    left = {each.group.key: sum(store.state(cell) != "done" for cell in each.cells) for each in possible}
    minutes, measured = _minutes(possible, left, store, paces) if any(left.values()) else (0.0, False)
    return Total(
        runs=sum(each.runs for each in possible),
        left=sum(left.values()),
        refused=len(outlooks) - len(possible),
        minutes=minutes / workers,
        measured=measured,
        memory_bytes=max((each.memory_bytes for each in possible), default=0),
        cache_bytes=sum(caches.values()),
        artefact_bytes=sum(each.artefact_bytes for each in possible),
    )


def here(workers: int) -> Paces:
    """Returns what tells the pace of a recipe's runs on this machine, when so many share its cores."""
    networks: dict[tuple[str, str], Network] = {}
    known: dict[tuple[Any, ...], Pace] = {}

    def measured(recipe: Recipe, beside: bool) -> Pace:
        key = (recipe.backbone, frozen_precision(recipe))
        with threads(max(1, (os.cpu_count() or 1) // workers)):
            if key not in networks:
                networks[key] = pace_.network(*key)
            side = recipe.method if beside else ""
            entry = (*key, side, recipe.task, recipe.corpus, recipe.train.batch_seconds, recipe.train.batch_clips)
            if entry not in known:
                known[entry] = pace_.pace(recipe, networks[key], beside)
        return known[entry]

    return measured


def _minutes(
    outlooks: Sequence[Outlook], left: dict[tuple[str, str, str], int], store: Store, paces: Paces
) -> tuple[float, bool]:
    """Returns the minutes of all that is left in one process, and whether finished runs have corrected them."""
    guessed = spent = ahead = 0.0
    fills: dict[tuple[str, str, str], float] = {}
    filled = set()
    for each in outlooks:
        assert each.plan is not None
        pace = paces(each.cells[0].recipe, each.plan.effort.beside)
        one, cache = pace.run(each.plan.effort), (each.group.backbone, each.group.entry.corpus, each.plan.cache)
        fills[cache] = pace.fill(each.plan.effort)
        ahead += left[each.group.key] * one
        for seconds in _seconds(each, store):
            filled.add(cache)
            guessed, spent = guessed + one, spent + seconds
    guessed += sum(fills[cache] for cache in filled)
    ahead += sum(seconds for cache, seconds in fills.items() if cache not in filled)
    return ahead * (spent / guessed if guessed else 1.0) / 60, guessed > 0


def _seconds(outlook: Outlook, store: Store) -> Iterator[float]:
    """Yields what each of its finished runs took."""
    return (store.recorded(cell).wall for cell in outlook.cells if store.state(cell) == "done")
