"""IA³: keys, values and the FFN's inner state are multiplied by trained factors (Liu, 2022, arXiv:2205.05638)."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pegbox.methods._weights import linear
from pegbox.sites import Edit, Sites, around, on


@dataclass(frozen=True)
class IA3:
    """Scales what the linear maps `at` give, and for `down` what it is given; identity at the start (ones)."""

    at: tuple[str, ...] = ("k", "v", "down")

    def plan(self, sites: Sites) -> Iterator[Edit]:
        """Yields one vector of factors a site."""
        for site in sites(*self.at):
            linear("ia3", site, sites)
            inner = site.role == "down"
            yield on(site, "weight", Columns(site.input_width)) if inner else around(site, Rows(site.output_width))


class Factors(nn.Module):
    """Trained factors, ones at the start."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.factors = nn.Parameter(torch.ones(width))


class Columns(Factors):
    """Factors of a map's input: they scale its weight's columns, so that no second product is needed."""

    def forward(self, weight: Tensor) -> Tensor:  # (out, in)
        """Returns the weight with scaled columns."""
        return weight * self.factors.to(weight.dtype)


class Rows(Factors):
    """Factors of a map's output."""

    def forward(self, _: Tensor, y: Tensor) -> Tensor:  # (batch, time, in), (batch, time, out)
        """Returns y scaled."""
        return y * self.factors.to(y.dtype)

    def merged(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Returns weight and bias with scaled rows."""
        factors = self.factors.to(weight.dtype)
        return weight * factors[:, None], None if bias is None else bias * factors
