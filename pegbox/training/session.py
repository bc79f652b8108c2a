"""What consecutive trials share: rows, task and one loaded backbone; and the seconds that a trial takes."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from accelerate import Accelerator

from pegbox import backbones, tasks
from pegbox.backbones import Backbone
from pegbox.errors import RecipeError
from pegbox.recipe import Recipe
from pegbox.training.model import Tuned
from pegbox.training.prepare import Choices, Data, assemble, corpus_rows, data_of, frozen_precision, resolve


class Session:
    """One recipe's rows, task and loaded backbone."""

    def __init__(self, recipe: Recipe) -> None:
        started = time.perf_counter()
        self.asked, self.recipe = recipe, resolve(recipe)
        self.task = tasks.build(recipe.task)
        self.accelerator = Accelerator()
        if self.accelerator.num_processes > 1:  # each would train a model of its own, silently
            raise RecipeError("one run over several processes is not supported yet; start it without a launcher")
        self.backbone: Backbone = backbones.load(recipe.backbone, frozen_precision(self.recipe))
        self.backbone.to(self.accelerator.device)
        self._seconds = time.perf_counter() - started

    def loading_seconds(self) -> float:
        """Returns what loading took, counted with the first trial that asks."""
        seconds, self._seconds = self._seconds, 0.0
        return seconds

    def data(self, fold: int | None) -> Data:
        """Returns the rows of one trial."""
        return data_of(corpus_rows(self.recipe, fold), self.task, self.backbone)

    def model(self, recipe: Recipe, data: Data, seed: int, choices: Choices | None) -> Tuned:
        """Returns a fresh model of a recipe with one method, its numbers drawn from the seed."""
        torch.manual_seed(seed)
        model = assemble(recipe, self.backbone, self.task, data.vocabulary, choices)
        return model.to(self.accelerator.device)


class Clock:
    """Seconds by phase."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Adds the time of a block to a phase."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.add(name, time.perf_counter() - started)

    def add(self, name: str, seconds: float) -> None:
        """Adds seconds to a phase."""
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds
