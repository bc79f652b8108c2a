"""UniPET-SPK: prompts, inner and inter-layer adapters behind gates (2025, arXiv:2501.16542)."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from pegbox.methods._adapter import Adapter, share
from pegbox.methods._gate import Gate
from pegbox.methods._prompt import Own
from pegbox.methods._sides import inter_adapters
from pegbox.sites import Edit, Mixing, Prompts, Site, Sites, around, before


@dataclass(frozen=True)
class UniPETSpk:
    """`length` prompts and a bottleneck beside the FFN in each block, and one on each hidden state the head reads.

    Each part has a gate of its own, of UniPELT's form: a number a clip, from what the part is given. Not the identity.
    Without sizes, the bottlenecks have a sixth of the width.
    """

    length: int = 10
    inner: int | None = None
    inter: int | None = None

    def plan(self, sites: Sites) -> Iterator[Edit]:
        """Yields prompts and bottleneck of each block, and the one module beside the network."""
        for site in sites("enter"):
            yield before(site, GatedPrompts(self.length, sites))
        for site in sites("ffn"):
            yield around(site, GatedAdapter(site, share(self.inner, site.input_width, 6)))
        yield inter_adapters("unipet_spk", sites, share(self.inter, sites.width, 6), gated=True)


class GatedPrompts(Prompts):
    """Trained prompts of one block, times its gate."""

    def __init__(self, length: int, sites: Sites) -> None:
        super().__init__()
        self.own, self.gate = Own("unipet_spk", length, sites, "states"), Gate(sites.width)

    def forward(self, x: Tensor) -> Tensor:  # (batch, time, width) → (batch, prompts, width)
        """Returns as much of the prompts as the clip opens."""
        self.own.real = self.real
        prompts: Tensor = self.own(x) * self.gate(x, self.real)
        return prompts


class GatedAdapter(Mixing):
    """y plus a bottleneck of x, times its gate."""

    def __init__(self, site: Site, size: int) -> None:
        super().__init__()
        self.adapter = Adapter("unipet_spk", site, size, "relu", parallel=True, option="inner")
        self.gate = Gate(site.input_width)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:  # (batch, time, width), (batch, time, width)
        """Returns y with the gated bottleneck added."""
        whole: Tensor = self.adapter(x, y)
        opened: Tensor = self.gate(x, self.real)
        return y + opened * (whole - y)
