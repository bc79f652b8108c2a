"""L-adapters: a narrow map of each layer's output, feeding the head (Otake et al., 2023, arXiv:2212.02780)."""

from collections.abc import Iterator
from dataclasses import dataclass

from pegbox.methods._sides import layer_adapters
from pegbox.sites import Edit, Sites


@dataclass(frozen=True)
class LAdapter:
    """LN(gelu(linear(h))) of every block's output, `size` wide; the head reads their weighted sum.

    Alone, it needs no backward pass through the network. With `e_adapter` it is E+L of the paper, whose start,
    N(0, 0.001²), is kept.
    """

    size: int = 512

    def plan(self, sites: Sites) -> Iterator[Edit]:
        """Yields the one module beside the network."""
        yield layer_adapters("l_adapter", sites, self.size)
