"""How fast this machine is: some passes of noise through a network with random weights, and through a task's head."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import Tensor

from pegbox import backbones, tasks
from pegbox.backbones import Backbone, Precision
from pegbox.recipe import Recipe, Search
from pegbox.rows import Row, seconds
from pegbox.training import mixing
from pegbox.training.crew import default_device
from pegbox.training.feed import shuffled
from pegbox.training.model import Batch, Tuned
from pegbox.training.plans import Effort
from pegbox.training.prepare import assemble, corpus_rows, data_of, frames_of

_CLIPS: Final = 4
_SECONDS: Final = 4.0  # of each of them
_TIMES: Final = 3  # after a first pass, which sets up what later ones reuse
_WEIGHT: Final = 0.5  # gradients of all weights beside what a pass through frozen ones takes: 6 operations, not 4


@dataclass(frozen=True)
class Pace:
    """Seconds of a clock for a second of audio: the stem, a block without and with gradients through it, and the head.
    `step`: seconds for a step on means over time."""

    stem: float
    block: float
    taught: float
    head: float
    step: float

    def run(self, effort: Effort) -> float:
        """Returns the seconds of a run, without those that fill a cache; training takes no more than its limit."""
        first = self._whole(effort.before) if effort.before else 0.0
        return first + min(self._whole(effort), effort.limit or math.inf)

    def fill(self, effort: Effort) -> float:
        """Returns the seconds that fill the cache of such runs, once."""
        first = self.fill(effort.before) if effort.before else 0.0
        return first + effort.filled * (self.stem + effort.frozen * self.block)

    def _whole(self, effort: Effort) -> float:
        if effort.means:
            return effort.steps * self.step
        above = effort.heard * self.taught * (1 + _WEIGHT * effort.share) + effort.looked * self.block
        stem = self.stem * (1 + 2 * effort.stem * effort.heard / (effort.heard + effort.looked))
        below = 0.0 if effort.filled else (effort.heard + effort.looked) * (stem + effort.frozen * self.block)
        return effort.taught * above + below + (effort.heard + effort.looked / 3) * self.head


@dataclass(frozen=True)
class Network:
    """Seconds of a clock for a second of audio through parts of a network."""

    stem: float
    block: float
    taught: float


def network(source: str, precision: Precision) -> Network:
    """Returns how long a network's parts take here; reads no weights."""
    backbone, device = backbones.drawn(source, precision).to(default_device()), default_device()
    samples = round(_SECONDS * backbone.rate)
    wave, lengths = torch.randn(_CLIPS, samples, device=device), torch.full((_CLIPS,), samples)
    with torch.no_grad():
        state = backbone.stem(wave, lengths)
        stem = _timed(lambda: backbone.stem(wave, lengths).x)
        block = _timed(lambda: _top(backbone, state.x)) / backbone.depth
    x = state.x.detach().requires_grad_()
    taught = _timed(lambda: torch.autograd.backward(_top(backbone, x).sum())) / backbone.depth
    return Network(*(each / (_CLIPS * _SECONDS) for each in (stem, block, taught)))


def pace(recipe: Recipe, measured: Network, beside: bool = False) -> Pace:
    """Returns what runs on this recipe's task and network take here; `measured` is of the same network.

    With `beside` the head's part is that of what stands beside the network, which the recipe names, and the head."""
    outline, task = backbones.outline(recipe.backbone), tasks.build(recipe.task)
    rows = corpus_rows(recipe, recipe.folds[0] if recipe.folds else None)
    data = data_of(rows, task, outline, recipe.train.longer_than)
    rows = shuffled(data.rows["train"], recipe.train.batch_seconds, recipe.train.batch_clips, 0, 0)[0]
    plain = recipe if beside else replace(recipe, method="weighted_sum", features="weighted")
    model = assemble(replace(plain, search=Search()), outline, task, data.vocabulary)
    for part in (model.head, *(side for side in model.side if side)):
        part.to(default_device())
    step = _step(model, _noise(model, rows, "pooled")) if model.task.pools and not beside else 0.0
    head = _step(model, _noise(model, rows, "states")) / sum(map(seconds, rows))
    return Pace(measured.stem, measured.block, measured.taught, head, step)


def _noise(model: Tuned, rows: list[Row], kind: str) -> Batch:
    """Returns hidden states of noise, as a cache would give them."""
    frames = torch.tensor([frames_of(row, model.backbone) for row in rows])
    depths = tuple(range(model.backbone.depth + 1))
    time_axis = (int(frames.max()),) if kind == "states" else ()
    x = torch.randn(len(rows), len(depths), *time_axis, model.backbone.width, device=default_device())
    return Batch(tuple(rows), "states" if kind == "states" else "pooled", x, frames, frames, depths)


def _step(model: Tuned, batch: Batch) -> float:
    def once() -> None:
        logits = model(batch)
        torch.autograd.backward(mixing.loss(model.task, logits, batch.frames, batch.rows, model.vocabulary))

    return _timed(once)


def _top(backbone: Backbone, x: Tensor) -> Tensor:  # (batch, time, width) → the same
    *_, last = backbone.fold(backbone.resume(x, None))
    return last


def _timed(work: Callable[[], object]) -> float:
    """Returns the mean seconds of some passes."""
    work()
    _wait()
    started = time.perf_counter()
    for _ in range(_TIMES):
        work()
    _wait()
    return (time.perf_counter() - started) / _TIMES


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
