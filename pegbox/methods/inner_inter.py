"""Inner and inter-layer adapters for speaker verification (Sang, Hansen, 2024, arXiv:2403.00293)."""

from collections.abc import Iterator
from dataclasses import dataclass

from pegbox.methods._adapter import Adapter, share
from pegbox.methods._sides import inter_adapters
from pegbox.sites import Edit, Sites, around


@dataclass(frozen=True)
class InnerInter:
    """y + scale·up(relu(down(x))) beside each FFN, and h + up(relu(down(h))) of every hidden state the head reads.

    Identity at the start (up = 0). Without sizes a sixth of the width: some 5 % of a network, as in the abstract.
    """

    inner: int | None = None
    inter: int | None = None
    scale: float = 1.0

    def plan(self, sites: Sites) -> Iterator[Edit]:
        """Yields one bottleneck a block, and the one module beside the network."""
        for site in sites("ffn"):
            size = share(self.inner, site.input_width, 6)
            adapter = Adapter("inner_inter", site, size, "relu", parallel=True, scale=self.scale, option="inner")
            yield around(site, adapter)
        yield inter_adapters("inner_inter", sites, share(self.inter, sites.width, 6))
