"""One run of a matrix, by whichever process: takes its lock, trains it or goes on with it, and records a failure."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from filelock import Timeout

from pegbox import run
from pegbox.bench.matrix import Cell
from pegbox.bench.store import Store
from pegbox.errors import PegboxError
from pegbox.training.loop import Validated
from pegbox.training.session import Shelf
from pegbox.training.trial import AnyEvent


@dataclass(frozen=True)
class Outcome:
    """What became of a run; `elsewhere`: another process works on it."""

    state: Literal["done", "failed", "elsewhere"]
    seconds: float
    problem: str = ""


def perform(cell: Cell, store: Store, shelf: Shelf) -> Outcome:
    """Trains a run that is not finished yet, and returns what became of it. What is refused is recorded, not raised.

    Runs that are performed with one shelf share a loaded backbone.
    """
    started = time.perf_counter()
    try:
        with store.lock(cell).acquire(timeout=0):
            store.fetch(cell)
            if store.state(cell) == "done":
                return Outcome("done", 0.0)
            problem = _train(cell, store, shelf)
    except Timeout:
        return Outcome("elsewhere", 0.0)
    return Outcome("failed" if problem else "done", time.perf_counter() - started, problem)


def _train(cell: Cell, store: Store, shelf: Shelf) -> str:
    place = store.open(cell)

    def told(event: AnyEvent, folder: Path) -> None:
        if isinstance(event, Validated):
            store.mirror.send_now_and_then(place)

    try:
        run.train(cell.recipe, place, told, shelf)
    except (PegboxError, OSError, RuntimeError, MemoryError) as problem:  # a full disk, too little memory, a driver
        store.fail(cell, type(problem).__name__, str(problem))
        return str(problem) or type(problem).__name__
    store.mirror.send(place)
    return ""
