"""Pfeiffer adapters: one bottleneck a block, after the FFN (Pfeiffer et al., 2020, arXiv:2005.00247)."""

from collections.abc import Iterator
from dataclasses import dataclass

from pegbox.methods._adapter import Adapter, share
from pegbox.sites import Edit, Sites, around


@dataclass(frozen=True)
class Pfeiffer:
    """y + up(relu(down(y))) after the FFN, identity at the start (up = 0); without a size, a sixteenth of the width."""

    size: int | None = None

    def plan(self, sites: Sites) -> Iterator[Edit]:
        """Yields one bottleneck a block."""
        for site in sites("ffn"):
            yield around(site, Adapter("pfeiffer", site, share(self.size, site.output_width, 16), "relu"))
