"""LoReFT: hidden states are moved within a trained low-rank subspace (Wu et al., 2024, arXiv:2404.03592)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pegbox.errors import RecipeError
from pegbox.methods._parts import Affine
from pegbox.sites import Edit, Mixing, Site, Sites, around


@dataclass(frozen=True)
class LoReFT:
    """h + Rᵀ(Wh + b − Rh) on what a block gives, R with `rank` orthonormal rows. Not the identity.

    `positions` takes every frame, or the first or the last `count` real ones of a clip.
    """

    rank: int = 1
    positions: Literal["all", "first", "last"] = "all"
    count: int = 3

    def plan(self, sites: Sites) -> Iterator[Edit]:
        """Yields one move a block."""
        for site in sites("leave"):
            yield around(site, Subspace(site, self))


class Subspace(Mixing):
    """y, moved within a subspace."""

    def __init__(self, site: Site, settings: LoReFT) -> None:
        super().__init__()
        rank, width = settings.rank, site.output_width
        if not 1 <= rank <= width:
            raise RecipeError(f"loreft(rank={rank}): at '{site.name}' the rank goes from 1 to {width}")
        if settings.count < 1:
            raise RecipeError(f"loreft(count={settings.count}): at least one frame")
        self.positions, self.count = settings.positions, settings.count
        self.rows = nn.Parameter(nn.init.orthogonal_(torch.empty(rank, width)))
        self.target = Affine(width, rank)

    def forward(self, _: Tensor, y: Tensor) -> Tensor:  # (batch, time, in), (batch, time, out)
        """Returns y with the chosen frames moved."""
        rows = torch.linalg.qr(self.rows.T).Q.T.to(y.dtype)  # orthonormal, whatever the optimiser did to them
        moved = F.linear(self.target(y) - F.linear(y, rows), rows.T)
        return y + (moved if self.positions == "all" else moved * self._chosen(y).to(y.dtype))

    def _chosen(self, y: Tensor) -> Tensor:  # → (batch or 1, time, 1)
        frame = torch.arange(y.shape[1], device=y.device)[None, :, None]
        if self.positions == "first":
            return frame < self.count
        end = y.shape[1] if self.real is None else self.real.sum(1)[:, None, None]
        return (frame < end) & (frame >= end - self.count)
