"""MAM adapters: a prefix in the attention and a scaled adapter beside the FFN (He et al., 2022, arXiv:2110.04366)."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from pegbox.methods._adapter import Adapter, share
from pegbox.methods._parts import slow_down
from pegbox.methods._prefix import prefixes
from pegbox.sites import Edit, Sites, around


@dataclass(frozen=True)
class Mam:
    """`length` keys and values a block, and y + scale·up(relu(down(x))) at the FFN. Not the identity.

    Without a size, half the width. The adapter learns at a tenth of the prefix's rate, as `parallel` does alone.
    """

    length: int = 30
    size: int | None = None
    scale: float = 4.0

    def plan(self, sites: Sites) -> Iterator[Edit]:
        """Yields prefix and adapter of each block."""
        yield from prefixes("mam", sites, self.length)
        for site in sites("ffn"):
            size = share(self.size, site.input_width, 2)
            adapter = Adapter("mam", site, size, "relu", parallel=True, scale=self.scale)
            nn.init.zeros_(adapter.down.bias)
            slow_down(adapter)  # its scale makes every step so much larger
            yield around(site, adapter)
