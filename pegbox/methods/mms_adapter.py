"""MMS language adapters: a normed bottleneck at the end of every block (Pratap et al., 2023, arXiv:2305.13516)."""

from collections.abc import Iterator
from dataclasses import dataclass

from pegbox.methods._adapter import Adapter
from pegbox.sites import Edit, Sites, around


@dataclass(frozen=True)
class MMSAdapter:
    """h + up(relu(down(LN(h)))) on what a block gives; identity at the start (up = 0)."""

    size: int = 16

    def plan(self, sites: Sites) -> Iterator[Edit]:
        """Yields one bottleneck a block."""
        for site in sites("leave"):
            yield around(site, Adapter("mms_adapter", site, self.size, "relu", norm=True))
