"""L-adapters: a narrow map of each layer's output, feeding the head (Otake et al., 2023, arXiv:2212.02780)."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from pegbox.errors import RecipeError
from pegbox.sites import Edit, Side, Sites, beside


@dataclass(frozen=True)
class LAdapter:
    """LN(gelu(linear(h))) of every block's output, `size` wide; the head reads their weighted sum.

    Alone, it needs no backward pass through the network. With `e_adapter` it is E+L of the paper, whose start,
    N(0, 0.001), is kept.
    """

    size: int = 512

    def plan(self, sites: Sites) -> Iterator[Edit]:
        """Yields the one module beside the network."""
        if self.size < 1:
            raise RecipeError(f"l_adapter(size={self.size}): at least 1")
        yield beside(Layers(sites.width, self.size, sites.depth))


class Layers(Side):
    """One map a block."""

    def __init__(self, width: int, size: int, depth: int) -> None:
        super().__init__(size, depth)
        self.maps = nn.ModuleList(nn.Linear(width, size) for _ in range(depth))
        self.norms = nn.ModuleList(nn.LayerNorm(size) for _ in range(depth))
        for linear in self.maps:
            nn.init.normal_(linear.weight, std=1e-3)  # type: ignore[arg-type]
            nn.init.zeros_(linear.bias)  # type: ignore[arg-type]

    def forward(
        self, states: list[Tensor], mask: Tensor | None
    ) -> list[Tensor]:  # depth + 1 times (batch, time, width), (batch, time)
        """Returns `depth` states, each (batch, time, size)."""
        each = zip(self.norms, self.maps, states[1:], strict=True)
        return [norm(F.gelu(linear(state))) for norm, linear, state in each]
