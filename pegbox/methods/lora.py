"""LoRA: a low-rank matrix added to a weight (Hu et al., 2021, arXiv:2106.09685)."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pegbox.errors import RecipeError
from pegbox.sites import Edit, Site, Sites, around


@dataclass(frozen=True)
class LoRA:
    """Adds (alpha / rank)·B·A to the weights at the linear sites `at`; identity at the start (B = 0)."""

    rank: int = 8
    alpha: float = 16.0
    at: tuple[str, ...] = ("q", "v")
    dropout: float = 0.0

    def plan(self, sites: Sites) -> Iterator[Edit]:
        """Yields one low-rank edit a site."""
        for site in sites(*self.at):
            yield around(site, LowRank(site, self.rank, self.alpha, self.dropout))


class LowRank(nn.Module):
    """y + scale·B·A·x around a linear module."""

    def __init__(self, site: Site, rank: int, alpha: float, dropout: float) -> None:
        super().__init__()
        if not isinstance(site.owner, nn.Linear):
            raise RecipeError(f"lora: the site '{site.name}' is no linear module; choose from q, k, v, o, up, down")
        if not 1 <= rank <= min(site.input_width, site.output_width):
            limit = min(site.input_width, site.output_width)
            raise RecipeError(f"lora(rank={rank}): at '{site.name}' the rank goes from 1 to {limit}")
        if not 0 <= dropout < 1:
            raise RecipeError(f"lora(dropout={dropout}): a share from 0 up to, not including, 1")
        self.scale = alpha / rank
        self.dropout = nn.Dropout(dropout)
        self.down = nn.Parameter(torch.empty(rank, site.input_width))
        self.up = nn.Parameter(torch.zeros(site.output_width, rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:  # (batch, time, in), (batch, time, out)
        """Returns y with the low-rank map of x added."""
        narrow = F.linear(self.dropout(x), self.down.to(x.dtype))
        return y + F.linear(narrow, (self.up * self.scale).to(x.dtype))

    def merged(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Returns the weight with the product in it; the bias stays."""
        return weight + (self.scale * self.up @ self.down).to(weight.dtype), bias
