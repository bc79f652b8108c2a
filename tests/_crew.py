"""Two processes on this machine that compute together, for tests: forked, so that nothing is imported again."""

import multiprocessing
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate.state import AcceleratorState, PartialState

PATIENCE = 600.0  # seconds; a machine that others use too is slow


def in_two(work: Callable[[], Any], folder: Path, codes: tuple[int, int] = (0, 0)) -> list[Any]:
    """Returns what `work` returns in each of two processes, if it exits well; those that hang are killed and fail."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder.mkdir(parents=True, exist_ok=True)
    fork = multiprocessing.get_context("fork")
    both = [fork.Process(target=_run, args=(rank, port, work, folder)) for rank in range(2)]
    for each in both:
        each.start()
    for each in both:
        each.join(PATIENCE)
    left = [each for each in both if each.is_alive()]
    for each in left:
        each.kill()
    assert not left, "a process waits for the other"
    assert tuple(each.exitcode for each in both) == codes
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(2) if not codes[rank]]


def _run(rank: int, port: int, work: Callable[[], Any], folder: Path) -> None:
    torch.set_num_threads(1)  # those of the parent are not here
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "ACCELERATE_USE_CPU": "true"}
    AcceleratorState._reset_state(True)
    PartialState._reset_state()
    torch.save(work(), folder / f"{rank}.pt")
    os._exit(0)  # what the parent has begun is not this process's to end
