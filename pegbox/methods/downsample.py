"""Down-sampling: the blocks work on fewer frames, for speed (Zaiem et al., 2023, arXiv:2303.06740)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from pegbox.errors import RecipeError
from pegbox.sites import Edit, Reframing, Sites, before


@dataclass(frozen=True)
class Downsample:
    """Each block sees one frame for `factor`: their mean, or the first of them. Behind it each is repeated.

    Nothing is trained: take it with a method that is, as in `downsample(factor=2) + lora`. Between blocks the frames
    are repeated and averaged again, which changes nothing, so that hidden states and heads keep their rate.
    """

    factor: int = 2
    kind: Literal["mean", "first"] = "mean"

    def plan(self, sites: Sites) -> Iterator[Edit]:
        """Yields one change of frames a block."""
        if self.factor < 2:
            raise RecipeError(f"downsample(factor={self.factor}): at least 2 frames for one")
        for site in sites("enter"):
            yield before(site, Fewer(self.factor, self.kind))


class Fewer(Reframing):
    """One frame for several."""

    def __init__(self, factor: int, kind: str) -> None:
        super().__init__()
        self.factor, self.kind = factor, kind

    def enter(self, x: Tensor) -> Tensor:  # (batch, time, width) → (batch, time / factor, width)
        """Returns a frame for each group; the last group of a clip is of its real frames only."""
        if self.kind == "first":
            return x[:, :: self.factor]
        real = x.new_ones(x.shape[:2]) if self.real is None else self.real.to(x.dtype)
        missing = -x.shape[1] % self.factor
        groups = torch.nn.functional.pad(x * real[..., None], (0, 0, 0, missing))
        count = torch.nn.functional.pad(real, (0, missing)).view(len(x), -1, self.factor).sum(-1, keepdim=True)
        return groups.view(len(x), -1, self.factor, x.shape[2]).sum(2) / count.clamp(min=1)

    def leave(self, y: Tensor, time: int) -> Tensor:  # (batch, time / factor, width) → (batch, time, width)
        """Returns every frame for its group."""
        return y.repeat_interleave(self.factor, 1)[:, :time]

    def along(self, values: Tensor, dim: int, new: float) -> Tensor:
        """Returns the values of each group's first frame."""
        places = torch.arange(0, values.shape[dim], self.factor, device=values.device)
        return values.index_select(dim, places)
