"""The training loop, a generator of events: logging, saving, progress bars and cluster reports consume them."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import torch
from accelerate import Accelerator
from torch import Tensor

from pegbox.errors import DeadParameterError, NonFiniteError
from pegbox.methods import Chosen
from pegbox.recipe import Train
from pegbox.rows import Row, seconds
from pegbox.tasks import Prediction, Tunes
from pegbox.training import epochs, optim
from pegbox.training.crew import Crew
from pegbox.training.feed import Feed, in_order, shuffled
from pegbox.training.lessons import lesson
from pegbox.training.model import Tuned
from pegbox.training.segments import joined
from pegbox.training.trials import Trial, paired

_DECAY: Final = 0.6  # of the moving average of the training loss


@dataclass(frozen=True)
class Step:
    """One update of the weights."""

    step: int
    epoch: int
    loss: float
    progress: float  # share of training done, 0 to 1
    audio_seconds: float
    wall_seconds: float


@dataclass(frozen=True)
class Validated:
    """A look at the validation split."""

    step: int
    epoch: int
    loss: float  # mean training loss since the last look
    valid_loss: float
    scores: dict[str, float]
    best: bool
    wall_seconds: float


@dataclass(frozen=True)
class Stopped:
    """Training has ended; the model holds the best step's weights."""

    step: int
    best_step: int
    reason: str


Event = Step | Validated | Stopped


@dataclass
class Progress:
    """Where training stands between two validations: all that a resume needs beside the tensors."""

    step: int = 0
    epoch: int = 0
    chunk: int = 0  # groups of batches done in this epoch
    best_score: float | None = None
    best_loss: float = math.inf
    best_step: int = 0
    waited: int = 0
    losses: list[float] = field(default_factory=list)
    moving: float = 0.0  # moving average of the loss over all steps, from zero
    alive: list[str] = field(default_factory=list)
    awake: bool = False  # every trained tensor has had a gradient
    finished: bool = False
    seconds: float = 0.0  # of a contest with limited time that had gone by

    @property
    def smoothed(self) -> float:
        """The moving average of the training loss, corrected for its start at zero; NaN before the first step."""
        return self.moving / (1 - _DECAY**self.step) if self.step else math.nan


class Trainer:
    """One model, its data and its optimiser; `events` trains, `evaluate` predicts."""

    def __init__(
        self,
        model: Tuned,
        feed: Feed,
        methods: tuple[Chosen, ...],
        train: Train,
        seed: int,
        accelerator: Accelerator,
        rate: float = 1.0,  # multiple of the methods' rates
        trials: Sequence[Trial] = (),
        passed: Callable[[], float] = float,  # share of the time that training may take; zero without a limit
    ) -> None:
        self.model, self.feed, self.settings, self.seed, self.trials = model, feed, train, seed, trials
        self.passed = passed
        self.accelerator, self.crew = accelerator, Crew(accelerator)
        model.train()
        self.crew.check(model)
        self.optimizer = optim.make_optimizer(model, methods, train, rate)
        self.progress = Progress()
        self.best: dict[str, Tensor] = {}
        mixed = train.precision == "bf16" and model.backbone.precision == "fp32"
        self.lesson = lesson(model, feed, self.crew, mixed)

    def events(self, rows: Sequence[Row], dev: Sequence[Row]) -> Iterator[Event]:
        """Trains until the epochs or steps are over or patience ends, then takes the best step's weights."""
        at = self.progress
        while not at.finished:
            yield from self._epoch(rows, dev)
        if at.step > 1:
            self._refuse_dead(at.step)  # the last step may have woken some, and no later one tells of the others
        if self.best:
            self.model.load_tensors(self.best)
        patient = self.settings.patience and at.waited >= self.settings.patience
        yield Stopped(at.step, at.best_step, "patience" if patient else "done")

    def evaluate(self, rows: Sequence[Row]) -> list[Prediction]:
        """Returns one plain row a clip, in the order given: id, split, said, true and what else the task knows."""
        return self._look(rows, with_loss=False)[0]

    def loss(self, rows: Sequence[Row]) -> float:
        """Returns the mean loss over clips."""
        return self._look(rows, with_loss=True)[1]

    def tune(self, rows: Sequence[Row]) -> None:
        """Ends training: lets a task choose on the validation split what it does so, and decode at leisure."""
        task = self.model.task
        found = task.tune(self.evaluate(rows)) if isinstance(task, Tunes) else {}
        self.model.choose(self.model.chosen | found)

    @torch.no_grad()
    def _look(self, rows: Sequence[Row], with_loss: bool) -> tuple[list[Prediction], float]:
        self.model.eval()
        batches = list(in_order(rows, self.settings.batch_seconds, self.settings.batch_clips))
        own = self.crew.share(batches)
        parts = self.crew.each(lambda: [self.lesson.heard(group, with_loss) for group in own])
        heard = [parts[n % len(parts)][n // len(parts)] for n in range(len(batches))]  # in the order of one process
        found = {row["id"]: row for said, _ in heard for row in said}
        return joined(rows, found, self.model.task), sum(loss for _, loss in heard) / len(rows)

    def _epoch(self, rows: Sequence[Row], dev: Sequence[Row]) -> Iterator[Event]:
        at, train, model = self.progress, self.settings, self.model
        heard = epochs.heard(rows, model.task, model.backbone, train, self.seed, at.epoch)
        batches = shuffled(heard, train.batch_seconds, train.batch_clips, self.seed, at.epoch)
        chunks = [batches[i : i + train.accumulate] for i in range(0, len(batches), train.accumulate)]
        while at.chunk < len(chunks) and not at.finished:
            started, chunk = time.perf_counter(), chunks[at.chunk]
            share = self._share(at.chunk + 1, len(chunks))
            loss = self._update(chunk, share)
            at.step, at.chunk = at.step + 1, at.chunk + 1
            at.losses.append(loss)
            at.moving = _DECAY * at.moving + (1 - _DECAY) * loss
            at.finished = (bool(train.steps) and at.step >= train.steps) or self.passed() >= 1
            length = sum(seconds(row) for group in chunk for row in group)
            yield Step(at.step, at.epoch, loss, share, length, time.perf_counter() - started)
            if self._due(at.chunk == len(chunks)):
                yield self._validate(dev)
        if at.chunk >= len(chunks):
            at.epoch, at.chunk = at.epoch + 1, 0
            at.finished = at.finished or (not train.steps and at.epoch >= train.epochs)

    def _share(self, chunk: int, chunks: int) -> float:
        at, train = self.progress, self.settings
        taken = (at.step + 1) / train.steps if train.steps else (at.epoch + chunk / chunks) / train.epochs
        return max(taken, min(self.passed(), 1.0))

    def _due(self, epoch_ends: bool) -> bool:
        at, train = self.progress, self.settings
        last = at.finished or (epoch_ends and not train.steps and at.epoch + 1 >= train.epochs)
        if train.validate_steps:
            return last or at.step % train.validate_steps == 0
        return last or (epoch_ends and (at.epoch + 1) % train.validate_epochs == 0)

    def _update(self, chunk: Sequence[Sequence[Row]], share: float) -> float:
        if not self.model.training:  # walking all modules costs more than a step on pooled features
            self.model.train()
        clips = sum(len(group) for group in chunk)
        for entries in self.model.delta.entries():
            entries.passes = len(chunk) + (self.crew.count > 1)  # the last one is then the sum over the processes
        total = 0.0
        with self.crew.own_part(self.seed, self.progress.step):
            for group in chunk:
                loss = self._loss(group)
                weight = len(group) / clips
                if loss.requires_grad:  # of fewer clips than processes some have none
                    self.accelerator.backward(loss * weight)
                total += float(loss.detach()) * weight
        self._sum_up()
        self._check_alive()
        self._clip()
        optim.set_rates(self.optimizer, optim.factor(share, self.settings, self.progress.epoch))
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return total

    def _sum_up(self) -> None:
        """Makes the gradients of this process's clips those of the whole batch."""
        if self.crew.count == 1:
            return
        inside = list(self.model.delta.entries())
        dense = [tensor for entries in inside if entries.parent for tensor in entries.inside]
        self.crew.sum_gradients([*self.model.trained().values(), *dense])
        for entries in inside:
            entries.summed()

    def _clip(self) -> None:
        """Limits the gradient's norm: that of what is trained or, where a child network asks, of its whole parent."""
        tensors = [tensor for group in self.optimizer.param_groups for tensor in group["params"]]
        parents = [entries for entries in self.model.delta.entries() if entries.parent]
        if not parents:
            self.accelerator.clip_grad_norm_(tensors, self.settings.clip)
        else:
            inside = {id(entries.values) for entries in parents}
            gradients = [each.grad for each in tensors if each.grad is not None]
            others = [each.grad.square().sum() for each in tensors if each.grad is not None and id(each) not in inside]
            norm = torch.stack([*others, *(entries.squares for entries in parents)]).sum().sqrt()
            torch._foreach_mul_(gradients, (self.settings.clip / (norm + 1e-6)).clamp(max=1.0))
        for entries in self.model.delta.entries():
            entries.thin()

    def _loss(self, group: Sequence[Row]) -> Tensor:
        loss = self.lesson.loss(group)
        if not math.isfinite(float(loss.detach())):
            raise NonFiniteError(
                f"step {self.progress.step + 1}: the loss is {float(loss.detach())} on the clips "
                f"{[row.id for row in group]}; listen to them, or lower the learning rate"
            )
        return loss

    def _check_alive(self) -> None:
        """Every trained tensor must have had a gradient by the second step, or the first after it that wakes no other.

        A factor that starts at zero needs two, and a batch of which masks hide everything gives none.
        """
        at = self.progress
        if at.awake:
            return
        trained = self.model.trained()
        alive = {*at.alive, *(name for name, tensor in trained.items() if _has_gradient(tensor))}
        woken = alive - {*at.alive}
        at.alive, at.awake = sorted(alive), len(alive) == len(trained)
        if at.step > 0 and not woken:
            self._refuse_dead(at.step + 1)

    def _refuse_dead(self, steps: int) -> None:
        trained = self.model.trained()
        dead = sorted(trained.keys() - {*self.progress.alive})
        if dead:
            raise DeadParameterError(
                f"{len(dead)} of {len(trained)} trained tensors had no gradient in {steps} steps: {dead[:8]}; "
                "the method edits a place that the head never reads (see features and blocks), the site is not "
                "real, or gradients are cut off above it (no_grad, re-entrant checkpointing)"
            )

    def _validate(self, dev: Sequence[Row]) -> Validated:
        started, at, task = time.perf_counter(), self.progress, self.model.task
        said, valid_loss = self._look(dev, with_loss=True)
        scores = task.score(paired(said, self.trials))
        score = scores[task.metric]
        tie = score == at.best_score and valid_loss < at.best_loss  # small validation splits saturate
        best = tie or better(task.better, score, at.best_score)
        if best:
            at.best_score, at.best_loss, at.best_step, at.waited = score, valid_loss, at.step, 0
            self.best = self.model.tensors()
        else:
            at.waited += 1
        at.finished = at.finished or bool(self.settings.patience and at.waited >= self.settings.patience)
        loss = sum(at.losses) / max(len(at.losses), 1)
        at.losses = []
        return Validated(at.step, at.epoch, loss, valid_loss, scores, best, time.perf_counter() - started)


def better(direction: str, score: float, than: float | None) -> bool:
    """Returns whether a score beats the best so far; NaN never does, a tie does not."""
    if math.isnan(score) or than is None:
        return than is None and not math.isnan(score)
    return score > than if direction == "max" else score < than


def _has_gradient(tensor: Tensor) -> bool:
    return tensor.grad is not None and bool(tensor.grad.count_nonzero())
