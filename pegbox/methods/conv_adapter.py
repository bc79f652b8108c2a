"""ConvAdapter: grouped convolutions over time and a squeeze-excite gate (Li et al., 2023, arXiv:2303.03267)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pegbox.errors import RecipeError
from pegbox.methods._adapter import check_frames, reduced
from pegbox.methods._parts import Affine, norm_in_fp32
from pegbox.sites import Edit, Mixing, Site, Sites, around


@dataclass(frozen=True)
class ConvAdapter:
    """h + gate · conv3(conv5(relu(conv3(LN(h))))) at the end of a block, `width / reduction` channels inside.

    `average="all"` lets the gate see padded frames, and `start="paper"` draws the last convolution instead of zeroing
    it: both as the authors have them.
    """

    reduction: int = 2
    squeeze: int = 16
    at: tuple[str, ...] = ("leave",)
    average: Literal["real", "all"] = "real"
    start: Literal["identity", "paper"] = "identity"

    def plan(self, sites: Sites) -> Iterator[Edit]:
        """Yields one adapter a site."""
        for site in sites(*self.at):
            check_frames("conv_adapter", site)
            yield around(site, Convolutions(site, self))


class Convolutions(Mixing):
    """y plus the gated convolutions of y."""

    def __init__(self, site: Site, settings: ConvAdapter) -> None:
        super().__init__()
        width = site.output_width
        inner = reduced("conv_adapter", site, width, settings.reduction)
        if not 1 <= settings.squeeze <= width:
            raise RecipeError(f"conv_adapter(squeeze={settings.squeeze}): at '{site.name}' from 1 to {width}")
        self.everywhere = settings.average == "all"
        self.norm = nn.LayerNorm(width)
        self.first = nn.Conv1d(width, inner, 3, padding="same", groups=inner, bias=False)
        self.middle = nn.Conv1d(inner, inner, 5, padding="same", groups=inner, bias=False)
        self.last = nn.Conv1d(inner, width, 3, padding="same", groups=inner, bias=False)
        self.squeeze = Affine(width, width // settings.squeeze, bias=False)
        self.excite = Affine(width // settings.squeeze, width, bias=False)
        for conv in (self.first, self.middle, self.last):
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
        for linear in (self.squeeze, self.excite):
            nn.init.normal_(linear.weight, std=0.02)
        if settings.start == "identity":
            nn.init.zeros_(self.last.weight)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:  # (batch, time, in), (batch, time, out)
        """Returns y with the gated convolutions added; padded frames touch no real one."""
        inner = self._conv(self.first, norm_in_fp32(self.norm, y)).relu()
        inner = self._conv(self.last, self._conv(self.middle, inner))
        return y + inner * torch.sigmoid(self.excite(self.squeeze(self._mean(inner)).relu()))

    def _conv(self, conv: nn.Conv1d, x: Tensor) -> Tensor:  # (batch, time, in) → (batch, time, out)
        padding = conv.kernel_size[0] // 2
        seen = self.only_real(x).transpose(1, 2)
        return F.conv1d(seen, conv.weight.to(x.dtype), padding=padding, groups=conv.groups).transpose(1, 2)

    def _mean(self, x: Tensor) -> Tensor:  # (batch, time, width) → (batch, 1, width)
        if self.real is None or self.everywhere:
            return x.mean(1, keepdim=True)
        count = self.real.sum(1).to(x.dtype)[:, None, None]
        return self.only_real(x).sum(1, keepdim=True) / count
