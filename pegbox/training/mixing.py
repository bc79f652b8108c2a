"""Training clips heard as sums of two, with a share of both truths: mixup (arXiv:1710.09412) as AST and IPET do it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

from pegbox.errors import RecipeError
from pegbox.rows import Row
from pegbox.tasks import Hears, Mixes, Task

_SHARES: Final = (10.0, 10.0)  # of the beta distribution that a clip's share is drawn from
_DRAWS: Final = 1  # sets these draws apart from those of crops


@dataclass(frozen=True, kw_only=True)
class Mixed(Row):
    """A row of which `share` is heard, and of the partner the rest."""

    partner: Row
    share: float


def mixed(rows: Sequence[Row], partners: Sequence[Row], chance: float, seed: int, epoch: int) -> list[Row]:
    """Returns the rows of one epoch, each with that chance mixed with any of the partners; 0 leaves all as they are."""
    if not chance:
        return list(rows)
    draw = np.random.default_rng([abs(seed), epoch, _DRAWS])
    wanted = (draw.random(len(rows)) < chance).tolist()
    others = draw.integers(0, len(partners), len(rows)).tolist()
    shares = draw.beta(*_SHARES, len(rows)).tolist()
    found = zip(rows, wanted, others, shares, strict=True)
    return [_mixed(row, partners[other], share) if mix else row for row, mix, other, share in found]


def heard(wave: np.ndarray, partner: np.ndarray, share: float) -> np.ndarray:  # (samples,), (others,) → (samples,)
    """Returns the sum of two clips, as long as the first: the partner is cut, or silent where it has ended."""
    total: np.ndarray = np.float32(share) * wave
    both = min(len(wave), len(partner))
    total[:both] += np.float32(1 - share) * partner[:both]
    return total


def loss(task: Task, logits: Tensor, frames: Tensor, rows: Sequence[Row], vocabulary: tuple[str, ...]) -> Tensor:
    """Returns the task's mean loss over rows, mixed or not, a scalar."""
    labels = [row.labels for row in rows]
    if not any(isinstance(row, Mixed) for row in rows):
        assert isinstance(task, Hears)  # a synthesis network's loss is its own
        return task.loss(logits, frames, labels, vocabulary)
    assert isinstance(task, Mixes)  # `check` has refused the others
    others = [row.partner.labels if isinstance(row, Mixed) else row.labels for row in rows]
    shares = torch.tensor([row.share if isinstance(row, Mixed) else 1.0 for row in rows], device=logits.device)
    return task.mixed_loss(logits, labels, others, shares, vocabulary)


def check(task: Task, chance: float, spec: str) -> None:
    """Refuses to mix clips of a task whose truths have no sum."""
    if chance and not isinstance(task, Mixes):
        raise RecipeError(f"train.mixup={chance}: what {spec} learns of two clips has no sum; leave it 0")


def _mixed(row: Row, partner: Row, share: float) -> Mixed:
    own = (row.id, row.audio, row.labels, row.split, row.fold, row.start, row.end)
    return Mixed(*own, partner=partner, share=share)
