"""One of several candidates of a trial, what has been decided on them, and the order of their scores."""

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from pegbox.errors import PegboxError
from pegbox.recipe import Recipe
from pegbox.surgery import put
from pegbox.training import checkpoint
from pegbox.training.loop import Event, Stopped, Trainer
from pegbox.training.model import Tuned
from pegbox.training.prepare import Data, without_method
from pegbox.training.session import Session

TABLE: Final = "search.json"


@dataclass(frozen=True)
class Tried:
    """Something happened to one of several candidates."""

    candidate: int
    method: str
    event: Event


@dataclass
class Entrant:
    """One method with one multiple of its rate."""

    number: int
    recipe: Recipe
    rate: float
    model: Tuned
    random: dict[str, Tensor]
    size: int  # numbers that it trains
    trainer: Trainer | None = None
    events: Iterator[Event] | None = None
    stopped: Stopped | None = None  # its training is over already
    failed: PegboxError | None = None  # it diverged, or does not train: worse than any score

    @property
    def seconds(self) -> float:
        """What had gone by, where time is limited, when its state was saved last."""
        return self.trainer.progress.seconds if self.trainer else 0.0

    @contextmanager
    def turn(self) -> Iterator[Trainer]:
        """Puts this entrant's edits on the network and its random state in force."""
        assert self.trainer is not None
        checkpoint.set_random(self.random)
        self.model.delta.attach()
        try:
            yield self.trainer
        finally:
            self.random = checkpoint.random_state()
            self.model.delta.detach()


@dataclass
class Past:
    """What has been decided, as `search.json` keeps it."""

    table: list[dict[str, Any]]
    live: list[int]
    rung: int = 0
    layout: list[Any] = field(default_factory=list)  # what is cached: the same for all, and after a rung
    seconds: float = 0.0  # that had gone by at the last rung, where time is limited

    def note(self, entrant: Entrant, score: float, dropped_at: float | None) -> None:
        """Adds what a rung tells of an entrant."""
        row = self.table[entrant.number]
        row["parameters"] = entrant.size
        row["scores"] = [*row["scores"], None if math.isnan(score) else score]
        if entrant.failed:
            row["failed"] = str(entrant.failed)
        if dropped_at is not None:
            row["dropped_at"] = dropped_at
            row["steps"] = entrant.trainer.progress.step if entrant.trainer else 0

    def save(self, folder: Path) -> None:
        """Writes it whole or not at all."""
        put(folder / TABLE, json.dumps(self.__dict__, indent=1))


@dataclass(frozen=True)
class Judged:
    """A rung: each live candidate's score there, and which ones go on."""

    share: float
    scores: dict[int, float]
    kept: tuple[int, ...]


def ranked(judged: Sequence[tuple[float, int, int]], better: str) -> list[int]:
    """Returns numbers from best to worst, from (score, size, number): NaN is worst, a tie goes to the smaller size."""
    sign = -1 if better == "max" else 1

    def place(each: tuple[float, int, int]) -> tuple[float, int, int]:
        score, size, number = each
        return (math.inf if math.isnan(score) else sign * score, size, number)

    return [number for _, _, number in sorted(judged, key=place)]


def start_of(recipe: Recipe, session: Session, data: Data, seed: int) -> tuple[Tuned, dict[str, Tensor]]:
    """Returns the head that all candidates start with, and the random state after it: no method's draws move them."""
    torch.manual_seed(seed)
    model = without_method(recipe, session.backbone, session.task, data.vocabulary)
    model.delta.detach()
    return model.to(session.accelerator.device), checkpoint.random_state()


def same_head(first: Tuned, other: Tuned) -> None:
    """Gives a model the head that another starts with, where it fits."""
    given, own = first.head.state_dict(), other.head.state_dict()
    if {name: tensor.shape for name, tensor in given.items()} == {name: tensor.shape for name, tensor in own.items()}:
        other.head.load_state_dict(given)
