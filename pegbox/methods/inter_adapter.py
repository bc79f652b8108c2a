"""Inter-layer adapters: a bottleneck on each hidden state before the layer sum (Sang, Hansen, arXiv:2403.00293)."""

from collections.abc import Iterator
from dataclasses import dataclass

from pegbox.methods._sides import inter_adapters
from pegbox.sites import Edit, Sites


@dataclass(frozen=True)
class InterAdapter:
    """h + up(relu(down(h))) of every hidden state that the head reads; identity at the start (up = 0).

    Alone, it needs no backward pass through the network; `inner_inter` has adapters inside the blocks as well.
    """

    size: int = 32

    def plan(self, sites: Sites) -> Iterator[Edit]:
        """Yields the one module beside the network."""
        yield inter_adapters("inter_adapter", sites, self.size)
