"""UniPELT: LoRA, prefix and adapter in each block, each behind a trained gate (Mao et al., 2022, arXiv:2110.07577)."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pegbox.errors import RecipeError
from pegbox.methods._adapter import Adapter, share
from pegbox.methods._parts import Affine, check_length
from pegbox.methods._prefix import Keys
from pegbox.sites import Edit, Mixing, Site, Sites, around


@dataclass(frozen=True)
class UniPELT:
    """A gate a clip and part: sigmoid(w·x + b), meant over the clip's real frames, x what the block is given.

    LoRA acts on q and v, the prefix has `length` keys and values, the adapter stands after the FFN, without a size
    a 16th of the width. Not the identity.
    """

    rank: int = 8
    length: int = 10
    size: int | None = None

    def plan(self, sites: Sites) -> Iterator[Edit]:
        """Yields the gates and the three parts of each block."""
        check_length("unipelt", self.length, sites)
        gates = {site.block: Gates(site.input_width) for site in sites("enter")}
        closed = [site for site in sites("q", "v") if site.block not in gates]
        if closed:
            raise RecipeError(
                f"unipelt: the block of '{closed[0].name}' has no site 'enter', for its gates; choose other blocks"
            )
        for site in sites("enter"):
            yield around(site, gates[site.block])
        for site in sites("q", "v"):
            yield around(site, LowRank(site, self.rank, gates[site.block]))
        for site in sites("memory"):
            yield around(site, Opened(Keys(site, self.length, 0.02, 0.0, None, 0), gates[site.block]))
        for site in sites("ffn"):
            adapter = Adapter("unipelt", site, share(self.size, site.output_width, 16), "gelu")
            yield around(site, Weighted(adapter, gates[site.block]))


class Gates(Mixing):
    """Passes x on, and keeps how far each part is open for it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gate = Affine(width, 3)
        self.opened = torch.ones(0)  # (3, batch, 1, 1): LoRA, prefix, adapter

    def forward(self, x: Tensor, y: Tensor) -> Tensor:  # (batch, time, width), (batch, time, width)
        """Returns y as it is."""
        opened = self.only_real(torch.sigmoid(self.gate(x))).sum(1)  # (batch, 3)
        count = x.shape[1] if self.real is None else self.real.sum(1, keepdim=True).to(x.dtype)
        self.opened = (opened / count).T[..., None, None]
        return y


class LowRank(nn.Module):
    """y + gate · 2·B·A·x, B = 0 at the start."""

    def __init__(self, site: Site, rank: int, gates: Gates) -> None:
        super().__init__()
        most = min(site.input_width, site.output_width)
        if not 1 <= rank <= most:
            raise RecipeError(f"unipelt(rank={rank}): at '{site.name}' the rank goes from 1 to {most}")
        self.gates = (gates,)  # in a tuple: its numbers are those of the block's 'enter'
        self.down = nn.Parameter(torch.empty(rank, site.input_width))
        self.up = nn.Parameter(torch.zeros(site.output_width, rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:  # (batch, time, in), (batch, time, out)
        """Returns y with the gated low-rank map of x added."""
        return y + self.gates[0].opened[0] * F.linear(F.linear(x, self.down.to(x.dtype)), 2 * self.up.to(x.dtype))


class Opened(nn.Module):
    """(key, value) behind a prefix that is multiplied by its gate."""

    def __init__(self, keys: Keys, gates: Gates) -> None:
        super().__init__()
        self.keys, self.gates = keys, (gates,)

    def forward(self, x: object, memory: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Returns keys and values, each (batch, heads, prefix + time, head width)."""
        opened, time = self.gates[0].opened[1][..., None], memory[0].shape[2]
        key, value = (
            torch.cat([whole[:, :, :-time] * opened, whole[:, :, -time:]], 2) for whole in self.keys(x, memory)
        )
        return key, value


class Weighted(nn.Module):
    """y plus what the adapter adds, times its gate."""

    def __init__(self, adapter: Adapter, gates: Gates) -> None:
        super().__init__()
        self.adapter, self.gates = adapter, (gates,)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:  # (batch, time, in), (batch, time, out)
        """Returns y with the gated bottleneck added."""
        whole: Tensor = self.adapter(x, y)
        return y + self.gates[0].opened[2] * (whole - y)
