"""Adapter+: a small bottleneck after the FFN with a trained scale a channel (Steitz, 2024, arXiv:2406.06820)."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from pegbox.methods._adapter import Adapter, share
from pegbox.sites import Edit, Sites, around


@dataclass(frozen=True)
class AdapterPlus:
    """y + scale·up(gelu(down(y))), one scale a channel from 1 on; without a size, 1/96 of the width.

    Identity at the start (up = 0). The paper's drop-path, a regulariser of its training, is not part of it.
    """

    size: int | None = None

    def plan(self, sites: Sites) -> Iterator[Edit]:
        """Yields one bottleneck a block."""
        for site in sites("ffn"):
            scale = nn.Parameter(torch.ones(site.output_width))
            size = share(self.size, site.output_width, 96)
            yield around(site, Adapter("adapter_plus", site, size, "gelu", scale=scale))
