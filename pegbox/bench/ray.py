"""Runs on a Ray cluster: each is a task that asks for cores, GPUs and memory, and goes on elsewhere when its node dies.

The folder of the runs must be one that every node sees at the same path, or their store has a mirror.
"""

import functools
import math
import time
from dataclasses import replace
from typing import Final

import ray
from ray.exceptions import RayError

from pegbox.bench.board import Board
from pegbox.bench.local import PATIENCE, Told, settle
from pegbox.bench.matrix import Cell
from pegbox.bench.store import Store
from pegbox.bench.work import Outcome, perform
from pegbox.errors import RecipeError
from pegbox.training.session import Shelf

RETRIES: Final = 4  # of a run whose process or node died; each goes on from the last saved state


def work(board: Board, cpus: float, gpus: float, address: str, told: Told, most: int = 0) -> None:
    """Does all runs of a board on a cluster: the one at an address, else the one of this machine, else a new one here.

    `most`: how many there may be at once, 0 for as many as the cluster holds.

    Raises:
        RecipeError: when no node of the cluster has what a run asks for.
    """
    joined = ray.is_initialized()
    if not joined:
        _join(address)
    try:
        _drive(board, cpus, gpus, told, most)
    finally:
        if not joined:
            ray.shutdown()


def _join(address: str) -> None:
    quiet = {"log_to_driver": False, "include_dashboard": False, "logging_level": "ERROR"}
    if address:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
        return
    try:
        ray.init(address="auto", log_to_driver=False, logging_level="ERROR")
    except ConnectionError:  # no cluster runs here
        ray.init(**quiet)


def _drive(board: Board, cpus: float, gpus: float, told: Told, most: int) -> None:
    pending: dict[ray.ObjectRef, tuple[Cell, float]] = {}
    last: Cell | None = None
    largest = _fit(cpus, gpus)
    while not board.over:
        while len(pending) < min(_places(cpus, gpus), most or math.inf) and (cell := board.take(last)) is not None:
            task = _REMOTE.options(num_cpus=cpus, num_gpus=gpus, memory=min(board.sizes[cell.key], largest))
            pending[task.remote(cell, replace(board.store, out=board.store.out.resolve()))] = cell, time.perf_counter()
            last = cell
        ready, _ = ray.wait(list(pending), num_returns=1, timeout=PATIENCE)
        for reference in ready:
            cell, since = pending.pop(reference)
            settle(board, cell, _outcome(reference, board.store, cell, since), told)


def _fit(cpus: float, gpus: float) -> float:
    """Returns the memory of the largest node that has the cores and GPUs; a run that is said to need more gets all."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    able = [has for has in nodes if has.get("CPU", 0) >= cpus and has.get("GPU", 0) >= gpus]
    if not able:
        found = "; ".join(f"{has.get('CPU', 0):g} cores, {has.get('GPU', 0):g} GPUs" for has in nodes)
        raise RecipeError(f"a run asks for {cpus:g} cores and {gpus:g} GPUs, no node has them: {found}")
    return max(float(has["memory"]) for has in able)


def _places(cpus: float, gpus: float) -> int:
    """Returns how many runs the cluster as it is now holds at once, and one more to wait for a place."""
    has = ray.cluster_resources()
    counts = [has.get(name, 0) / asked for name, asked in (("CPU", cpus), ("GPU", gpus)) if asked]
    return 1 + int(min(counts, default=1))


def _perform(cell: Cell, store: Store) -> Outcome:
    return perform(cell, store, _shelf())


_REMOTE: Final = ray.remote(max_retries=RETRIES)(_perform)


@functools.cache
def _shelf() -> Shelf:
    """The shelf of this process, which does many runs."""
    return Shelf()


def _outcome(reference: "ray.ObjectRef", store: Store, cell: Cell, since: float) -> Outcome:
    try:
        outcome: Outcome = ray.get(reference)
    except RayError as problem:
        message = str(problem).strip().partition("\n")[0] or type(problem).__name__
        store.fail(cell, type(problem).__name__, message)
        return Outcome("failed", time.perf_counter() - since, message)
    return outcome
