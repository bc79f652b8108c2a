"""Inter-layer adapters: a bottleneck on each hidden state before the layer sum (Sang, Hansen, arXiv:2403.00293)."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor, nn

from pegbox.errors import RecipeError
from pegbox.sites import Edit, Side, Sites, beside


@dataclass(frozen=True)
class InterAdapter:
    """h + up(relu(down(h))) of every hidden state that the head reads; identity at the start (up = 0).

    Alone, it needs no backward pass through the network; with `parallel` it is Inner + Inter.
    """

    size: int = 32

    def plan(self, sites: Sites) -> Iterator[Edit]:
        """Yields the one module beside the network."""
        if not 1 <= self.size <= sites.width:
            raise RecipeError(f"inter_adapter(size={self.size}): from 1 to the width, {sites.width}")
        yield beside(Bottlenecks(sites.width, self.size, sites.depth + 1))


class Bottlenecks(Side):
    """One bottleneck a hidden state."""

    def __init__(self, width: int, size: int, count: int) -> None:
        super().__init__(width, count)
        self.down = nn.ModuleList(nn.Linear(width, size) for _ in range(count))
        self.up = nn.ModuleList(nn.Linear(size, width) for _ in range(count))
        for linear in self.up:
            nn.init.zeros_(linear.weight)  # type: ignore[arg-type]
            nn.init.zeros_(linear.bias)  # type: ignore[arg-type]

    def forward(
        self, states: list[Tensor], mask: Tensor | None
    ) -> list[Tensor]:  # depth + 1 times (batch, time, width), (batch, time)
        """Returns as many states, of the same width."""
        return [x + up(down(x).relu()) for x, down, up in zip(states, self.down, self.up, strict=True)]
