"""Scaled parallel adapters beside the FFN (He et al., 2022, arXiv:2110.04366)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from pegbox.methods._adapter import Adapter, share
from pegbox.sites import Edit, Sites, around


@dataclass(frozen=True)
class Parallel:
    """y + scale·up(relu(down(x))) with x the FFN's input, identity at the start (up = 0).

    Without a size, half the width; `learned_scale` trains the scale of each block, from `scale` on.
    """

    size: int | None = None
    scale: float = 4.0
    learned_scale: bool = False

    learning_rate: ClassVar[float] = 1e-4  # the paper's; the scale makes every step so much larger

    def plan(self, sites: Sites) -> Iterator[Edit]:
        """Yields one bottleneck a block."""
        for site in sites("ffn"):
            scale = nn.Parameter(torch.tensor([self.scale])) if self.learned_scale else self.scale
            size = share(self.size, site.input_width, 2)
            adapter = Adapter("parallel", site, size, "relu", parallel=True, scale=scale)
            nn.init.zeros_(adapter.down.bias)  # its weight is drawn Kaiming-uniform, as torch does by itself
            yield around(site, adapter)
