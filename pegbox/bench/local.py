"""Runs on this machine: some processes, each with a share of the cores, that do one run after the other."""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Final

import psutil
import torch

from pegbox.bench.board import Board
from pegbox.bench.matrix import Cell
from pegbox.bench.store import Store
from pegbox.bench.work import Outcome, perform
from pegbox.training.session import Shelf

Told = Callable[[Cell, Outcome], None]
_SPAWN: Final = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
PATIENCE: Final = 2.0  # seconds before a run that another process holds is asked for again


@dataclass
class _Worker:
    """A process, the pipe to it, and what it does."""

    process: BaseProcess
    pipe: Connection
    now: Cell | None = None
    last: Cell | None = None
    since: float = 0.0


def room() -> float:
    """Returns the bytes that runs may need together: of the GPU where there is one, else of the memory that is free."""
    if torch.cuda.is_available():
        return float(torch.cuda.mem_get_info()[0])
    return float(psutil.virtual_memory().available)


def work(board: Board, workers: int, told: Told) -> None:
    """Does all runs of a board with so many processes; `told(cell, outcome)` hears of each that ends.

    A process that dies, for want of memory or by a signal, costs its run and nothing else.
    """
    team: list[_Worker] = []
    try:
        while not board.over:
            _hand_out(board, team, workers)
            _collect(board, team, told)
    finally:
        for each in team:
            each.pipe.close()
            each.process.terminate()
        for each in team:
            each.process.join()


def _hand_out(board: Board, team: list[_Worker], workers: int) -> None:
    for free in [each for each in team if each.now is None]:
        if not _begin(board, free):
            return
    while len(team) < workers and (cell := board.take()) is not None:
        team.append(_hire(board.store, max(1, (os.cpu_count() or 1) // workers)))
        _send(team[-1], cell)


def _begin(board: Board, worker: _Worker) -> bool:
    cell = board.take(worker.last)
    if cell is not None:
        _send(worker, cell)
    return cell is not None


def _send(worker: _Worker, cell: Cell) -> None:
    worker.now, worker.since = cell, time.perf_counter()
    worker.pipe.send(cell)


def _collect(board: Board, team: list[_Worker], told: Told) -> None:
    busy = [each for each in team if each.now is not None]
    ready = wait([each.pipe for each in busy], timeout=PATIENCE)
    for each in [each for each in busy if each.pipe in ready]:
        cell = each.now
        assert cell is not None
        try:
            outcome: Outcome = each.pipe.recv()
        except (EOFError, ConnectionError):
            outcome = _died(each, board.store, cell)
            team.remove(each)
        each.now, each.last = None, cell
        settle(board, cell, outcome, told)


def settle(board: Board, cell: Cell, outcome: Outcome, told: Told) -> None:
    """Gives back what became of a run and tells it; waits a moment where another process holds the run."""
    board.give(cell, outcome)
    if outcome.state == "elsewhere":
        time.sleep(PATIENCE)
    else:
        told(cell, outcome)


def _hire(store: Store, threads: int) -> _Worker:
    ours, theirs = _SPAWN.Pipe()
    process = _SPAWN.Process(target=_serve, args=(theirs, store), daemon=True)
    with _threads(threads):
        process.start()
    theirs.close()
    return _Worker(process, ours)


def _died(worker: _Worker, store: Store, cell: Cell) -> Outcome:
    worker.process.join()
    code = worker.process.exitcode or 0
    how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    problem = f"the process that ran it ended with {how}; too little memory is the usual reason"
    store.fail(cell, "Died", problem)
    return Outcome("failed", time.perf_counter() - worker.since, problem)


def _serve(pipe: Connection, store: Store) -> None:
    """What a process does until nobody is at the other end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the one who hands out runs decides
    shelf = Shelf()
    while True:
        try:
            cell = pipe.recv()
            pipe.send(perform(cell, store, shelf))
        except (EOFError, ConnectionError):
            return


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Sets how many threads a process started now computes with."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = str(count)
    try:
        yield
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before
