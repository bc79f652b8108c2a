"""What is trained, put together: backbone, delta, layer weights and head."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from pegbox.backbones import Backbone, Network, padding_mask
from pegbox.delta import Delta, take_over
from pegbox.errors import RecipeError
from pegbox.rows import Row
from pegbox.tasks import Paced, Task, tuned
from pegbox.training import again

Features = Literal["weighted", "last"] | int


@dataclass(frozen=True)
class Batch:
    """Clips as the model reads them: waveforms, what a front-end made of them, hidden states, or their means."""

    rows: tuple[Row, ...]
    kind: Literal["wave", "front", "states", "pooled"]
    x: Tensor  # (batch, samples) | (batch, 1, time, channels) | (batch, stored, time, width) | (batch, stored, width)
    lengths: Tensor  # samples of each clip for waves, else frames, (batch,)
    frames: Tensor  # real frames of each clip, (batch,)
    depths: tuple[int, ...] = ()  # which hidden states are stored
    hidden: Tensor | None = None  # what of each spectrogram is silent, as `Backbone.stem` wants it, (batch, 4)


def read_depths(features: Features, depth: int) -> tuple[int, ...]:
    """Returns which hidden states the head reads, of a network with `depth` blocks."""
    if features == "weighted":
        return tuple(range(depth + 1))
    number = depth if features == "last" else int(features)
    if not 0 <= number <= depth:
        raise RecipeError(f"features={number}: this backbone has hidden states 0 (before the first block) to {depth}")
    return (number,)


class Tuned(nn.Module):
    """A backbone under a method, read through layer weights by a task's head. The frozen part stays in eval mode."""

    def __init__(
        self, backbone: Network, delta: Delta, task: Task, vocabulary: tuple[str, ...], features: Features
    ) -> None:
        super().__init__()
        if task.framewise and backbone.hop is None:
            raise RecipeError(f"{type(task).__name__} needs a time axis; {backbone.family.name}'s states are patches")
        if isinstance(task, Paced):
            task = task.paced(None if backbone.hop is None else backbone.hop / backbone.rate)
        self.backbone, self.delta, self.task, self.vocabulary = backbone, delta, task, vocabulary
        self.checkpointing = False  # whether the blocks that are trained compute again what they do not keep
        self.chosen: dict[str, Any] = {}
        self.beside: dict[str, str] = {}  # digests of what a kept run was made with
        self.side = (delta.side,)  # in a tuple: its numbers are the delta's
        given = delta.side.count - 1 if delta.side else backbone.depth
        self.mixes = read_depths(features, given)
        self.reads = tuple(range(backbone.depth + 1)) if delta.side else self.mixes
        self.layers = nn.Parameter(torch.zeros(len(self.mixes))) if features == "weighted" else None
        self.head = task.head(delta.side.width if delta.side else backbone.width, vocabulary)

    def choose(self, options: Mapping[str, Any]) -> None:
        """Takes over options of the task: found before training, or chosen on the validation split when it is over."""
        self.chosen, self.task = dict(options), tuned(self.task, options)

    def train(self, mode: bool = True) -> "Tuned":
        """Sets delta and head; dropout, LayerDrop and SpecAugment of the network stay off."""
        super().train(mode)
        self.backbone.eval()
        self.delta.train(mode)
        return self

    def trained(self) -> dict[str, nn.Parameter]:
        """Returns every trained tensor by name: `delta.…`, `layers`, `head.…`."""
        layers = {} if self.layers is None else {"layers": self.layers}
        delta = {f"delta.{name}": parameter for name, parameter in self.delta.named_parameters()}
        return delta | layers | {f"head.{name}": parameter for name, parameter in self.head.named_parameters()}

    def tensors(self) -> dict[str, Tensor]:
        """Returns a copy of every trained number and what belongs to it, on the CPU."""
        return {name: tensor.detach().to("cpu", copy=True) for name, tensor in self._stored().items()}

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Takes over what `tensors` gave; every one must be there and fit."""
        take_over(self._stored(), tensors, "this recipe")

    def take_head(self, tensors: Mapping[str, Tensor]) -> None:
        """Takes over the layer weights and the head that `tensors` of a model without a method gave."""
        own = {name: tensor for name, tensor in self._stored().items() if not name.startswith("delta.")}
        take_over({name: tensor.detach() for name, tensor in own.items()}, tensors, "this head")

    def artefact(self) -> dict[str, Tensor]:
        """Returns a copy of what an artefact stores, on the CPU, in the precision that the method asks for."""
        return _in_delta(self.tensors(), self.delta.short)

    def take_artefact(self, tensors: Mapping[str, Tensor]) -> None:
        """Takes over what `artefact` gave; every tensor must be there and fit."""
        self.load_tensors(_in_delta(tensors, self.delta.whole))

    def forward(self, batch: Batch) -> Tensor:
        """Returns the head's logits: (batch, classes) for pooling tasks, else (batch, time, units)."""
        if batch.kind == "pooled":
            means = dict(zip(batch.depths, batch.x.unbind(1), strict=True))
            return self.head(self._mixed([means[depth] for depth in self.mixes]))  # type: ignore[no-any-return]
        states, mask = self._states(batch)
        side = self.side[0]
        if side is not None:
            states = dict(enumerate(side([states[depth].float() for depth in self.reads], mask)))
        chosen = [states[depth] for depth in self.mixes]
        if self.task.pools:
            chosen = [mean_over_time(x, mask) for x in chosen]
        mixed = self._mixed(chosen)
        return self.head(mixed) if self.task.pools else self.head(mixed, batch.frames)  # type: ignore[no-any-return]

    def _stored(self) -> dict[str, Tensor]:
        delta = {f"delta.{name}": tensor for name, tensor in self.delta.state_dict(keep_vars=True).items()}
        head = {f"head.{name}": tensor for name, tensor in self.head.state_dict(keep_vars=True).items()}
        return delta | head | ({} if self.layers is None else {"layers": self.layers})

    def _states(self, batch: Batch) -> tuple[dict[int, Tensor], Tensor | None]:
        assert isinstance(self.backbone, Backbone)  # a synthesis network is driven by its lessons
        known: dict[int, Tensor] = {}
        start = 0
        if batch.kind == "wave":
            state = self.backbone.stem(batch.x, batch.lengths, batch.hidden)
        elif batch.kind == "front":
            state = self.backbone.enter(batch.x[:, 0], batch.frames)
        else:
            known = dict(zip(batch.depths, batch.x.unbind(1), strict=True))
            start = batch.depths[-1]
            state = self.backbone.resume(known[start], padding_mask(batch.frames, known[start]))
        if max(self.reads) > start or not known:
            step = again.step(self.backbone, self.delta) if self.checkpointing and self.training else None
            known |= dict(enumerate(self.backbone.fold(state, start, step), start))
        return {depth: known[depth] for depth in self.reads}, state.mask

    def _mixed(self, states: Sequence[Tensor]) -> Tensor:
        if self.layers is None:
            return states[0].float()
        weights = self.layers.softmax(0)
        total = weights[0] * states[0].float()  # a number of no dimension would not lift bf16
        for index in range(1, len(weights)):
            total = total + weights[index] * states[index].float()
        return total


def _in_delta(
    tensors: Mapping[str, Tensor], change: Callable[[Mapping[str, Tensor]], dict[str, Tensor]]
) -> dict[str, Tensor]:
    """Returns tensors of which those of the delta are changed under the names that it gives them itself."""
    rest = {name: each for name, each in tensors.items() if not name.startswith("delta.")}
    own = {name.removeprefix("delta."): each for name, each in tensors.items() if name not in rest}
    return {f"delta.{name}": each for name, each in change(own).items()} | rest


def mean_over_time(x: Tensor, mask: Tensor | None) -> Tensor:  # (batch, time, width), (batch, time) → (batch, width)
    """Returns the mean over each clip's real frames, in fp32."""
    if mask is None:
        return x.float().mean(1)
    return x.float().masked_fill(~mask[..., None], 0.0).sum(1) / mask.sum(1, keepdim=True)
