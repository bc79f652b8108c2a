"""Compacter: adapters whose weights are sums of Kronecker products (Karimi Mahabadi et al., 2021, arXiv:2106.04647)."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pegbox.errors import RecipeError
from pegbox.methods._adapter import fitting
from pegbox.sites import Edit, Site, Sites, around


@dataclass(frozen=True)
class Compacter:
    """y + up(gelu(down(y))) whose two weights are sums of `n` products Aᵢ ⊗ (sᵢtᵢ), the Aᵢ shared by all adapters.

    `at=["ffn"]` is Compacter++. Without a size, 1/32 of the width, rounded up to a multiple of `n`.
    Near the identity at the start: the Aᵢ are N(0, 0.0001²).
    """

    size: int | None = None
    n: int = 4
    at: tuple[str, ...] = ("attn", "ffn")

    def plan(self, sites: Sites) -> Iterator[Edit]:
        """Yields one adapter a site."""
        if self.n < 1:
            raise RecipeError(f"compacter(n={self.n}): at least one product")
        shared = Shared(self.n)
        for number, site in enumerate(sites(*self.at)):
            yield around(site, Products(site, self, shared, keeps=number == 0))


class Shared(nn.Module):
    """The n matrices Aᵢ of all adapters."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.matrices = nn.Parameter(torch.randn(n, n, n) * 1e-4)


class Products(nn.Module):
    """y plus a bottleneck of Kronecker products."""

    def __init__(self, site: Site, settings: Compacter, shared: Shared, keeps: bool) -> None:
        super().__init__()
        n, size = settings.n, settings.size
        width = fitting("compacter", site, 1 if size is None else size)
        size = n * -(-width // (32 * n)) if size is None else size
        if size % n or width % n:
            raise RecipeError(
                f"compacter(size={size}, n={n}): n must divide the size and the width {width} at '{site.name}'"
            )
        self.shared = shared if keeps else None  # its numbers are kept once, with the first adapter
        self.down, self.up = Kronecker(shared, n, width, size), Kronecker(shared, n, size, width)

    def forward(self, _: Tensor, y: Tensor) -> Tensor:  # (batch, time, in), (batch, time, out)
        """Returns y with the bottleneck's output added."""
        added: Tensor = self.up(F.gelu(self.down(y)))
        return y + added


class Kronecker(nn.Module):
    """A linear map with the weight Σ Aᵢ ⊗ (sᵢtᵢ)."""

    def __init__(self, shared: Shared, n: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.shared = (shared,)  # in a tuple: not registered again
        self.s, self.t = nn.Parameter(torch.empty(n, inputs // n)), nn.Parameter(torch.empty(n, outputs // n))
        self.bias = nn.Parameter(torch.zeros(outputs))
        for factor in (self.s, self.t):
            limit = (6 / (factor.shape[1] + 1)) ** 0.5  # Glorot's for each vector as a matrix of one row
            nn.init.uniform_(factor, -limit, limit)

    def forward(self, x: Tensor) -> Tensor:  # (batch, time, in) → (batch, time, out)
        """Returns the map of x, in x's precision."""
        weight = torch.einsum("nab,nc,nd->bdac", self.shared[0].matrices, self.s, self.t)
        return F.linear(x, weight.reshape(len(self.bias), -1).to(x.dtype), self.bias.to(x.dtype))
