"""Conformer adapter: a small convolution module beside the FFN (Cappellazzo et al., 2023, arXiv:2312.03694)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pegbox.errors import RecipeError
from pegbox.methods._adapter import check_frames
from pegbox.methods._parts import Affine, norm_in_fp32
from pegbox.methods._shared import BatchNorm
from pegbox.sites import Edit, Mixing, Site, Sites, around


@dataclass(frozen=True)
class ConformerAdapter:
    """y + up(silu(norm(depthwise(glu(down(LN(x))))))) at the FFN, `size` channels and `kernel` frames inside.

    The last map starts at zero (identity); `start="paper"` draws it as the authors do. Batch statistics are of real
    frames only, of all processes that share a batch.
    """

    size: int = 8
    kernel: int = 31
    at: tuple[str, ...] = ("ffn",)
    start: Literal["identity", "paper"] = "identity"

    def plan(self, sites: Sites) -> Iterator[Edit]:
        """Yields one adapter a site."""
        for site in sites(*self.at):
            check_frames("conformer_adapter", site)
            yield around(site, Convolution(site, self))


class Convolution(Mixing):
    """y plus a gated depthwise convolution of x."""

    def __init__(self, site: Site, settings: ConformerAdapter) -> None:
        super().__init__()
        width, size = site.input_width, settings.size
        if not 1 <= size <= width:
            raise RecipeError(f"conformer_adapter(size={size}): at '{site.name}' the size goes from 1 to {width}")
        if settings.kernel < 1 or settings.kernel % 2 == 0:
            raise RecipeError(f"conformer_adapter(kernel={settings.kernel}): an odd number of frames, such as 31")
        self.norm = nn.LayerNorm(width)
        self.down = Affine(width, 2 * size)
        self.depthwise = nn.Conv1d(size, size, settings.kernel, groups=size)
        self.batch = BatchNorm(size)
        self.up = Affine(size, site.output_width)
        if settings.start == "identity":
            nn.init.zeros_(self.up.weight)
            nn.init.zeros_(self.up.bias)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:  # (batch, time, in), (batch, time, out)
        """Returns y with the convolution module's output added."""
        inner = self.only_real(F.glu(self.down(norm_in_fp32(self.norm, x)), -1)).transpose(1, 2)
        own, shift = self.depthwise.weight, self.depthwise.bias
        kernel, bias = own.to(x.dtype), None if shift is None else shift.to(x.dtype)
        inner = F.conv1d(inner, kernel, bias, padding=own.shape[-1] // 2, groups=len(own)).transpose(1, 2)
        added: Tensor = self.up(F.silu(self._normed(inner)))
        return y + added

    def _normed(self, x: Tensor) -> Tensor:  # (batch, time, size)
        if self.real is None:
            return self.batch(x.float().flatten(0, 1)).view_as(x).to(x.dtype)  # type: ignore[no-any-return]
        return torch.zeros_like(x).masked_scatter(self.real[..., None], self.batch(x.float()[self.real]).to(x.dtype))
