"""Ladder side-tuning: a narrow network fed by the states of the frozen one (Sung et al., 2022, arXiv:2206.06522)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from pegbox.errors import RecipeError
from pegbox.sites import Edit, Side, Sites, beside

_TEMPERATURE = 0.1


@dataclass(frozen=True)
class Ladder:
    """One small transformer block a layer, `width / reduction` wide; nothing is back-propagated through the backbone.

    Before block i its state is g·down(h_i) + (1 − g)·s_(i−1) with a trained gate g; the last state, mapped back to the
    full width, is what the head reads.
    """

    reduction: int = 8
    heads: int = 4

    features: ClassVar[str] = "last"

    def plan(self, sites: Sites) -> Iterator[Edit]:
        """Yields the one network beside the backbone."""
        width = sites.width // self.reduction if self.reduction > 0 else 0
        if width < 1 or self.heads < 1 or width % self.heads:
            raise RecipeError(
                f"ladder(reduction={self.reduction}, heads={self.heads}): {sites.width} / reduction must be a width "
                "that the heads divide"
            )
        yield beside(Rungs(sites.width, width, self.heads, sites.depth))


class Rungs(Side):
    """The side network."""

    def __init__(self, width: int, narrow: int, heads: int, depth: int) -> None:
        super().__init__(width, 1)
        self.down = nn.ModuleList(nn.Linear(width, narrow) for _ in range(depth + 1))
        self.gates = nn.Parameter(torch.zeros(depth))
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(narrow, heads, 4 * narrow, 0.0, "gelu", batch_first=True, norm_first=True)
            for _ in range(depth)
        )
        self.up = nn.Linear(narrow, width)

    def forward(
        self, states: list[Tensor], mask: Tensor | None
    ) -> list[Tensor]:  # depth + 1 times (batch, time, width), (batch, time)
        """Returns one state of the full width."""
        padded = None if mask is None else ~mask
        own: Tensor = self.down[0](states[0])
        for gate, down, block, state in zip(self.gates, self.down[1:], self.blocks, states[1:], strict=True):
            share = torch.sigmoid(gate / _TEMPERATURE)
            own = block(share * down(state) + (1 - share) * own, src_key_padding_mask=padded)
        return [self.up(own)]
