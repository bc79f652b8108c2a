"""P-adapter: pseudo features beside those of the front-end (Inoue et al., 2024, arXiv:2407.21066)."""

from collections.abc import Iterator
from dataclasses import dataclass

from pegbox.methods._prompt import pseudo_features
from pegbox.sites import Edit, Sites


@dataclass(frozen=True)
class PAdapter:
    """`length` trained features of the front-end's width, which the network's own projection maps for its blocks.

    They join the clip behind the positional convolution and pass through all blocks; heads never see them. Not the
    identity.
    """

    length: int = 10

    def plan(self, sites: Sites) -> Iterator[Edit]:
        """Yields the features at the first block, and their passage through the following ones."""
        yield from pseudo_features("p_adapter", sites, self.length)
