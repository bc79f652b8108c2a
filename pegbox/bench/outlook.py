"""What a matrix would do, before any of it runs: which runs cannot be, and what the others will cost."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import torch

from pegbox.bench.matrix import Group
from pegbox.bench.store import Store
from pegbox.errors import PegboxError
from pegbox.training.plans import Plan, plan

_ITEM: Final = 4  # bytes of a trained number
_LIBRARIES: Final = 600 * 2**20  # bytes of a process that has loaded them


@dataclass(frozen=True)
class Outlook:
    """One method on one task with one backbone: its plan, or why it cannot be; and how many of its runs are left."""

    group: Group
    runs: int
    left: int
    plan: Plan | None
    refused: str = ""

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

    @property
    def work(self) -> float:
        """Floating point operations of a run, an estimate that only serves to compare."""
        return self.plan.work if self.plan else 0.0


@dataclass(frozen=True)
class Total:
    """The sums of a matrix."""

    runs: int
    left: int
    refused: int
    minutes: float
    measured: bool  # minutes come from runs that are finished, not from the machine's speed at one product of matrices
    memory_bytes: int  # of the largest run
    cache_bytes: int
    artefact_bytes: int


def look(groups: Sequence[Group], store: Store) -> Iterator[Outlook]:
    """Yields what each group would do, with the network on the meta device."""
    for group in groups:
        cells = [*group.finals(group.rates[0]), *group.sweep()]
        names = {cell.name: cell for cell in cells}
        left = sum(store.state(cell) != "done" for cell in names.values())
        try:
            yield Outlook(group, len(names), left, plan(cells[0].recipe))
        except PegboxError as problem:
            yield Outlook(group, len(names), 0, None, str(problem))


def total(outlooks: Sequence[Outlook], store: Store, workers: int) -> Total:
    """Returns the sums; minutes are estimated from the runs that are finished in the folder, else by a short test."""
    possible = [each for each in outlooks if each.plan]
    caches = {(each.group.backbone, each.group.entry.corpus): 0 for each in possible}
    for each in possible:
        place = (each.group.backbone, each.group.entry.corpus)
        caches[place] = max(caches[place], each.plan.cache_bytes if each.plan else 0)
    speed = _speed(possible, store)
    work = sum(each.left * each.work for each in possible)
    return Total(
        runs=sum(each.runs for each in possible),
        left=sum(each.left for each in possible),
        refused=len(outlooks) - len(possible),
        minutes=work / (speed * workers or _machine()) / 60,
        measured=speed > 0,
        memory_bytes=max((each.memory_bytes for each in possible), default=0),
        cache_bytes=sum(caches.values()),
        artefact_bytes=sum(each.artefact_bytes for each in possible),
    )


def _speed(outlooks: Sequence[Outlook], store: Store) -> float:
    """Returns operations a second of the runs that are finished, as estimated; 0 without any."""
    done, seconds = 0.0, 0.0
    for each in outlooks:
        for cell in each.group.finals(each.group.rates[0]):
            if store.state(cell) == "done":
                done += each.work
                seconds += sum(store.result(cell)["seconds"].values())
    return done / seconds if seconds else 0.0


def _machine() -> float:
    """Returns operations a second of all cores together, as training reaches them: a third of a large product's."""
    left = torch.ones(1024, 1024)
    started = time.perf_counter()
    for _ in range(4):
        left @ left
    return 4 * 2 * 1024**3 / (time.perf_counter() - started) / 3
