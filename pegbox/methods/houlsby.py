"""Houlsby adapters as the efficient-tuning study has them (Houlsby, arXiv:1902.00751; Chen, arXiv:2210.06175)."""

from collections.abc import Iterator
from dataclasses import dataclass

from pegbox.methods._adapter import Adapter
from pegbox.methods._parts import draw
from pegbox.sites import Edit, Sites, around


@dataclass(frozen=True)
class Houlsby:
    """y + up(gelu(down(y))) after the FFN, where the study puts it; `at=["attn", "ffn"]` is the original's double form.

    Weights start at N(0, 0.02²): near the identity, not at it.
    """

    size: int = 32
    at: tuple[str, ...] = ("ffn",)

    def plan(self, sites: Sites) -> Iterator[Edit]:
        """Yields one bottleneck a site."""
        for site in sites(*self.at):
            adapter = Adapter("houlsby", site, self.size, "gelu")
            draw(adapter, 0.02)
            yield around(site, adapter)
