"""A head that starts trained: first by itself on the frozen network, then with the method.

Kumar et al., "Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution", ICLR 2022
(arXiv:2202.10054). What is frozen comes from the cache, so that this part costs next to nothing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from pegbox.errors import RecipeError
from pegbox.methods import parse
from pegbox.recipe import Recipe, Search
from pegbox.surgery import read_tensors, save_tensors
from pegbox.training import checkpoint
from pegbox.training.feed import HELD_BYTES, Feed
from pegbox.training.filling import Cached, cache_of, fill, threads_for
from pegbox.training.layouts import layout_of
from pegbox.training.loop import Event, Stopped, Trainer, Validated
from pegbox.training.model import Tuned
from pegbox.training.prepare import Data, features_of, frames_of, single, without_method
from pegbox.training.session import Session
from pegbox.training.trials import trials_of

HEAD: Final = "head.safetensors"
STATE: Final = "head_state.safetensors"


@dataclass(frozen=True)
class Headed:
    """Something happened while the head was trained alone."""

    event: Event


@dataclass
class HeadStart:
    """The head of a trial, trained alone before it; `tensors` and `report` are there when `events` are over."""

    session: Session
    data: Data
    seed: int
    folder: Path
    tensors: dict[str, Tensor] = field(default_factory=dict)
    report: dict[str, Any] = field(default_factory=dict)

    def events(self) -> Iterator[Cached | Headed]:
        """Trains it, if the recipe wants that, or reads what was trained before an interruption."""
        if not self.session.recipe.train.head_epochs:
            return
        path, crew = self.folder / HEAD, self.session.crew
        if not crew.once(path.exists):
            yield from self._train(path)
        self.tensors, about = crew.once(lambda: read_tensors(path))
        self.report = {"head_start": about}

    def clear(self) -> None:
        """Removes what only a resume needs."""
        if self.session.crew.first:
            (self.folder / HEAD).unlink(missing_ok=True)

    def _train(self, path: Path) -> Iterator[Cached | Headed]:
        session, recipe = self.session, alone(self.session.recipe)
        torch.manual_seed(self.seed)  # the head that a run without this would start with
        model = without_method(recipe, session.backbone, session.task, self.data.vocabulary)
        try:
            yield from self._fit(model.to(session.accelerator.device), recipe, path)
        finally:
            model.delta.detach()

    def _fit(self, model: Tuned, recipe: Recipe, path: Path) -> Iterator[Cached | Headed]:
        session, rows = self.session, self.data.rows
        layout, _, _ = layout_of(recipe, [model], [frames_of(row, session.backbone) for row in self.data.all])
        cache = cache_of(session, layout)
        if cache:
            yield from fill(cache, self.data.all, session.crew)
        trials, feed = trials_of(recipe, session.task), Feed(session.backbone, cache, HELD_BYTES)
        trainer = Trainer(model, feed, (), recipe.train, self.seed, session.accelerator, trials=trials)
        left = session.crew.once(partial(checkpoint.left, self.folder / STATE))
        if left is not None:
            checkpoint.take_over(trainer, *left)
        with threads_for(layout):
            for event in trainer.events(rows["train"], rows["valid"]):
                if isinstance(event, Validated):
                    session.crew.once(partial(checkpoint.save, trainer, self.folder / STATE))
                if isinstance(event, Stopped):
                    session.crew.once(partial(self._keep, trainer, event, path))
                yield Headed(event)

    def _keep(self, trainer: Trainer, stopped: Stopped, path: Path) -> None:
        """Keeps the best step's head; from here on an interrupted trial has it."""
        score = {trainer.model.task.metric: trainer.progress.best_score}
        about = {"steps": stopped.step, "best_step": stopped.best_step, "valid": score}
        save_tensors(path, trainer.model.tensors(), about)
        (self.folder / STATE).unlink(missing_ok=True)


def alone(recipe: Recipe) -> Recipe:
    """Returns the recipe by which the head is trained alone: on whole clips, as they are."""
    train = replace(
        recipe.train, epochs=recipe.train.head_epochs, steps=0, head_epochs=0, milestones=(), checkpointing=False
    )
    train = replace(train, crop=0.0, mixup=0.0, mask_bands=0, mask_frames=0, validate_epochs=1, validate_steps=0)
    return replace(single(recipe)[0], search=Search(), train=train)


def check(recipe: Recipe, models: Sequence[Tuned]) -> None:
    """Refuses a start that would change nothing, or that does not fit what the method's head reads.

    Raises:
        RecipeError: saying which method it is.
    """
    if not recipe.train.head_epochs:
        return
    each = single(recipe)
    if len({features_of(one, parse(one.method)) for one in each}) > 1:
        raise RecipeError(
            "train.head_epochs: the candidates' heads read different features; set features, or leave it 0"
        )
    for one, model in zip(each, models, strict=True):
        if model.delta.side is not None:
            raise RecipeError(
                f"train.head_epochs: the head of {one.method} reads what stands beside the network; leave it 0"
            )
        if len(each) == 1 and not any(True for _ in model.delta.parameters()):
            raise RecipeError(
                f"train.head_epochs: {one.method} trains the head alone already; give train.epochs instead"
            )
