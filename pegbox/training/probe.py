"""Importance of a network's own entries from the task's gradients, measured once before training."""

import json
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from pegbox import methods
from pegbox.backbones import Speaker
from pegbox.errors import NonFiniteError
from pegbox.methods import Chosen
from pegbox.recipe import Recipe, Train
from pegbox.rows import Row
from pegbox.surgery import put, save_tensors
from pegbox.tasks import Hears
from pegbox.training.epochs import drawn
from pegbox.training.feed import Feed, shuffled
from pegbox.training.model import Tuned
from pegbox.training.prepare import Data
from pegbox.training.speaking import Speaking

CHOICE: Final = "choice.safetensors"
REPORT: Final = "importance.json"
_FIRST_LOOK: Final = 8  # batches before a choice is compared with an earlier one


class Probe:
    """Measures importance on a model that carries no deciding method: the head as training starts with it."""

    def __init__(self, model: Tuned, rows: Sequence[Row], train: Train, seed: int) -> None:
        self.model, self.rows, self.train, self.seed = model, rows, train, seed
        self.batches = 0

    def importance(self, tensors: Mapping[str, Tensor], wish: Any) -> Generator[dict[str, Tensor]]:
        """Yields the mean square of each entry's gradient over batches (or clips), or its mean's size; fp32.

        The gradient of each tensor is first clipped to `wish.tensor_clip`.

        Raises:
            NonFiniteError: naming the tensor whose gradient is not finite.
        """
        total = {name: torch.zeros_like(tensor, dtype=torch.float32) for name, tensor in tensors.items()}
        self.batches = looked = 0
        with _gathered(tensors, total, 2 if wish.choose == "fisher" else 1, wish.tensor_clip):
            for group in self._groups(wish.examples == "each", wish.batches):
                self._loss(group).backward()  # type: ignore[no-untyped-call]
                self.model.zero_grad(set_to_none=True)
                self.batches += 1
                if wish.stable and self.batches >= _FIRST_LOOK and self.batches & (self.batches - 1) == 0:
                    looked = self.batches
                    yield {name: (each / looked).abs_() for name, each in total.items()}
        if not looked or looked < self.batches:
            yield {name: each.div_(self.batches).abs_() for name, each in total.items()}

    def _groups(self, alone: bool, most: int) -> Iterator[list[Row]]:
        heard = drawn(self.rows, self.model.task, self.train, self.seed, 0)
        batches = shuffled(heard, self.train.batch_seconds, self.train.batch_clips, self.seed, 0)
        groups = [[row] for batch in batches for row in batch] if alone else batches
        yield from groups[: most or None]

    @cached_property
    def _speaking(self) -> Speaking | None:
        speaker = self.model.backbone
        return Speaking(self.model, speaker, Feed(speaker, None)) if isinstance(speaker, Speaker) else None

    def _loss(self, group: Sequence[Row]) -> Tensor:
        if self._speaking:
            return self._speaking.loss(group) / self.train.accumulate
        model, feed = self.model, Feed(self.model.backbone, None)
        batch = feed.batch(group)
        device = next(model.head.parameters()).device
        logits = model(replace(batch, x=batch.x.to(device)))
        assert isinstance(model.task, Hears)  # `speaking` serves the others
        loss = model.task.loss(logits, batch.frames, [row.labels for row in group], model.vocabulary)
        return loss / self.train.accumulate


def decide(
    recipes: Mapping[str, Recipe], model_of: Callable[[Recipe], Tuned], data: Data, seed: int, folder: Path
) -> None:
    """Lets the deciding methods of some recipes choose, each by a model without them.

    Recipes that differ in those methods only share the measurement. Choices, named `recipe:method:…`, with the number
    of batches that they took, and a report are written into the run's folder.
    """
    tensors: dict[str, Tensor] = {}
    reports: dict[str, object] = {}
    batches = 0
    for names in _alike(recipes):
        model = model_of(recipes[names[0]])
        try:
            probe = Probe(model.train(), data.rows["train"], recipes[names[0]].train, seed)
            unions = {name: methods.parse(recipes[name].method) for name in names}
            for name, found in methods.decide(unions, model.backbone.sites(), probe).items():
                for method, one in found.items():
                    tensors |= {f"{name}:{method}:{key}": each for key, each in one.tensors.items()}
                    reports |= {recipes[name].method: one.report} if one.report else {}
        finally:
            model.delta.detach()
        batches += probe.batches
    if reports:
        put(folder / REPORT, json.dumps(reports, indent=1))
    about = {"methods": [each.method for each in recipes.values()], "batches": batches}
    save_tensors(folder / CHOICE, tensors, about)


def _alike(recipes: Mapping[str, Recipe]) -> list[list[str]]:
    """Returns names of recipes in groups whose other methods are the same."""
    groups: dict[tuple[Chosen, ...], list[str]] = {}
    for name, recipe in recipes.items():
        others = tuple(each for each in methods.parse(recipe.method) if not isinstance(each.method, methods.Deciding))
        groups.setdefault(others, []).append(name)
    return list(groups.values())


@contextmanager
def _gathered(tensors: Mapping[str, Tensor], total: Mapping[str, Tensor], power: int, clip: float) -> Iterator[None]:
    """Adds up the tensors' gradients to some power as they come, each dropped at once."""

    def adding(name: str) -> Any:
        def hook(tensor: Tensor) -> None:
            gradient: Any = tensor.grad
            gradient = gradient.float()
            norm = gradient.norm()
            if not bool(torch.isfinite(norm)):
                raise NonFiniteError(f"the gradient of '{name}' is not finite; look for broken clips")
            if clip:
                gradient = gradient * (clip / (norm + 1e-6)).clamp(max=1.0)
            total[name].add_(gradient.square() if power == 2 else gradient)
            tensor.grad = None

        return hook

    hung = []
    for name, tensor in tensors.items():
        tensor.requires_grad_(True)
        hung.append(tensor.register_post_accumulate_grad_hook(adding(name)))  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        for hook in hung:
            hook.remove()
        for tensor in tensors.values():
            tensor.requires_grad_(False)
            tensor.grad = None
