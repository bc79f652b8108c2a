"""What a batch of clips teaches a model, and what the model says of them: by hearing, or by speaking."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor

from pegbox.backbones import Speaker
from pegbox.errors import RecipeError
from pegbox.rows import Row
from pegbox.tasks import Hears, Prediction
from pegbox.training import masking, mixing
from pegbox.training.crew import Crew, Outputs
from pegbox.training.feed import Feed
from pegbox.training.model import Batch, Tuned
from pegbox.training.speaking import Speaking


class Lesson(Protocol):
    """What the training loop asks of a model and its data."""

    def loss(self, group: Sequence[Row]) -> Tensor:
        """Returns the mean loss over a batch of clips, a scalar."""

    def heard(self, group: Sequence[Row], with_loss: bool) -> tuple[list[Prediction], float]:
        """Returns what is said of a batch, and the sum of its clips' losses, 0 without."""


class Hearing:
    """An encoder reads sound, a head its states."""

    def __init__(self, model: Tuned, feed: Feed, crew: Crew, mixed: bool) -> None:
        self.model, self.feed, self.crew, self.mixed = model, feed, crew, mixed

    def loss(self, group: Sequence[Row]) -> Tensor:
        """Returns the task's mean loss, of all processes together."""
        logits, frames = self.crew.outputs(group, self.feed.batch, self._outputs)
        return mixing.loss(self.model.task, logits, frames, masking.bare(group), self.model.vocabulary)

    def heard(self, group: Sequence[Row], with_loss: bool) -> tuple[list[Prediction], float]:
        """Returns what is said of a batch, and the sum of its clips' losses."""
        task, names, loss = self.model.task, self.model.vocabulary, 0.0
        assert isinstance(task, Hears)  # `lesson` has refused the others
        logits, frames = self._outputs(self.feed.batch(group))
        if with_loss:
            loss = float(task.loss(logits, frames, [row.labels for row in group], names)) * len(group)
        about = [{"id": row.id, "split": row.split, "true": task.truth(row.labels)} for row in group]
        return [known | said for known, said in zip(about, task.decode(logits, frames, names), strict=True)], loss

    def _outputs(self, batch: Batch) -> Outputs:
        with torch.autocast(self.crew.device.type, torch.bfloat16, enabled=self.mixed):
            return self.model(self._moved(batch)), batch.frames

    def _moved(self, batch: Batch) -> Batch:
        if self.crew.device.type == "cpu":
            return batch
        return replace(batch, x=batch.x.to(self.crew.device, non_blocking=True))


def lesson(model: Tuned, feed: Feed, crew: Crew, mixed: bool) -> Lesson:
    """Returns how this model is taught; `mixed` computes an encoder in bf16 where that is safe."""
    if not isinstance(model.backbone, Speaker):
        return Hearing(model, feed, crew, mixed)
    if crew.count > 1:
        raise RecipeError(f"synthesis trains in one process, and here are {crew.count}; start one")
    return Speaking(model, model.backbone, feed)
