"""Top blocks: the last blocks are trained whole, the rest stays frozen (Lee et al., 2022, arXiv:2210.11466)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from pegbox.errors import RecipeError
from pegbox.methods._parts import shifts
from pegbox.sites import Edit, Sites


@dataclass(frozen=True)
class TopBlocks:
    """Trains every weight and bias of the last `count` blocks' maps and norms, as differences; identity at the start.

    What lies below is computed once, by the cache.
    """

    count: int = 2

    learning_rate: ClassVar[float] = 1e-4

    def plan(self, sites: Sites) -> Iterator[Edit]:
        """Yields one shift of each tensor."""
        if not 1 <= self.count <= sites.depth:
            raise RecipeError(f"top_blocks(count={self.count}): of this network's blocks, from 1 to {sites.depth}")
        found = sites("q", "k", "v", "o", "norm1", "up", "down", "norm2")
        top = (site for site in found if site.block is not None and site.block >= sites.depth - self.count)
        yield from shifts(top, "weight", "bias")
