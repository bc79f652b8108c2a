"""VeRA: two trained vectors a weight around shared random matrices (Kopiczko et al., 2023, arXiv:2310.11454)."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pegbox.errors import RecipeError
from pegbox.methods._weights import linear, uniform
from pegbox.sites import Edit, Site, Sites, around


@dataclass(frozen=True)
class VeRA:
    """Adds diag(b)·B·diag(d)·A at the linear sites `at` and trains b and d; identity at the start (b = 0, d = `first`).

    A and B are drawn from `seed`, again at every load; no file holds them. Narrower sites read their first columns
    and rows.
    """

    rank: int = 256
    at: tuple[str, ...] = ("q", "v")
    first: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise RecipeError(f"vera(rank={self.rank}): at least 1")
        if self.first == 0:
            raise RecipeError("vera(first=0): with b = 0 too, neither would ever train; such as 0.1")

    def plan(self, sites: Sites) -> Iterator[Edit]:
        """Yields one pair of vectors a site; the first also keeps the shared matrices."""
        found = [(site, linear("vera", site, sites)) for site in sites(*self.at)]
        widest, longest = (max((shape[i] for _, at in found for shape in [at.weight.shape]), default=1) for i in (1, 0))
        shared = _Shared(self, widest, longest)
        for number, (site, _) in enumerate(found):
            yield around(site, Vectors(site, self, shared, keeps=number == 0))


class Vectors(nn.Module):
    """y + outer · B(inner · A·x)."""

    def __init__(self, site: Site, settings: VeRA, shared: "_Shared", keeps: bool) -> None:
        super().__init__()
        self.inner = nn.Parameter(torch.full((settings.rank,), settings.first))
        self.outer = nn.Parameter(torch.zeros(site.output_width))
        self.kept = shared if keeps else None
        self.shared = (shared,)  # in a tuple: not registered again

    def forward(self, x: Tensor, y: Tensor) -> Tensor:  # (batch, time, in), (batch, time, out)
        """Returns y with the vectors' map of x added."""
        down, up = self._matrices(x.shape[-1])
        narrow = F.linear(x, down.to(x.dtype)) * self.inner.to(x.dtype)
        return y + F.linear(narrow, up.to(x.dtype)) * self.outer.to(x.dtype)

    def merged(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Returns the weight with the product in it; the bias stays."""
        down, up = self._matrices(weight.shape[1])
        return weight + (self.outer[:, None] * up @ (self.inner[:, None] * down)).to(weight.dtype), bias

    def _matrices(self, width: int) -> tuple[Tensor, Tensor]:  # → (rank, in), (out, rank)
        shared = self.shared[0]
        return shared.get_buffer("down")[:, :width], shared.get_buffer("up")[: len(self.outer)]


class _Shared(nn.Module):
    """The frozen A and B, wide enough for every site."""

    def __init__(self, settings: VeRA, widest: int, longest: int) -> None:
        super().__init__()
        rank, seed = settings.rank, settings.seed
        self.register_buffer("down", uniform(rank, widest, math.sqrt(6 / widest), seed, "A"), persistent=False)
        self.register_buffer("up", uniform(longest, rank, math.sqrt(6 / rank), seed, "B"), persistent=False)
