"""MMS language adapters: a normed bottleneck at the end of every block (Pratap et al., 2023, arXiv:2305.13516)."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from pegbox.methods._adapter import fitting
from pegbox.methods._parts import Affine, norm_in_fp32
from pegbox.sites import Edit, Site, Sites, around


@dataclass(frozen=True)
class MMSAdapter:
    """h + up(relu(down(LN(h)))) on what a block gives; identity at the start (up = 0).

    A checkpoint with a language's adapter in its blocks (MMS) has this one in its place, which starts as a copy of it
    where the sizes agree.
    """

    size: int = 16

    def plan(self, sites: Sites) -> Iterator[Edit]:
        """Yields one bottleneck a block."""
        for site in sites("leave"):
            own = dict(site.home.named_children()).get("adapter_layer") if site.home else None
            place = site if own is None else replace(site, entry=own, exit=own, owner=None)
            yield around(place, Language(site, self.size, own))


class Language(nn.Module):
    """The bottleneck; `instead` of one that the block has, whose input is then x and whose output y is dropped."""

    def __init__(self, site: Site, size: int, own: Any) -> None:
        super().__init__()
        width = fitting("mms_adapter", site, size)
        self.instead = own is not None
        self.norm = nn.LayerNorm(width)
        self.down, self.up = Affine(width, size), Affine(size, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)
        if own is not None and len(own.linear_1.weight) == size:
            self._start(own)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:  # (batch, time, width), (batch, time, width)
        """Returns y with the bottleneck's output added, or that output alone where the block adds it."""
        h = x if self.instead else y
        added: Tensor = self.up(self.down(norm_in_fp32(self.norm, h)).relu())
        return added if self.instead else y + added

    @torch.no_grad()
    def _start(self, own: Any) -> None:
        for mine, theirs in ((self.norm, own.norm), (self.down, own.linear_1), (self.up, own.linear_2)):
            mine.weight.copy_(theirs.weight)
            mine.bias.copy_(theirs.bias)
