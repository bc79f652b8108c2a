"""Front-end convolution adapter: two convolutions beside each one of the front-end (Li et al., arXiv:2303.03267)."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from pegbox.errors import RecipeError
from pegbox.sites import Edit, Site, Sites, around


@dataclass(frozen=True)
class FrontConvAdapter:
    """conv(x) + up(gelu(down(x))) at each convolution of the front-end, before its norm; `down` has its steps.

    `size` channels lie between; in the first layer, which has a waveform's one channel to read, as many as it gives.
    `start="paper"` draws `up` as the authors do, instead of zeros (identity).
    """

    size: int = 8
    start: Literal["identity", "paper"] = "identity"

    def plan(self, sites: Sites) -> Iterator[Edit]:
        """Yields one pair of convolutions a layer."""
        for site in sites("conv"):
            conv = site.owner
            if not isinstance(conv, nn.Conv1d):
                raise RecipeError(f"front_conv_adapter: {sites.family} has no site that is a convolution over time")
            yield around(replace(site, entry=conv, exit=conv), Beside(site, conv, self))


class Beside(nn.Module):
    """y plus two convolutions of x."""

    def __init__(self, site: Site, conv: nn.Conv1d, settings: FrontConvAdapter) -> None:
        super().__init__()
        channels, (kernel,), self.stride, self.padding = conv.out_channels, conv.kernel_size, conv.stride, conv.padding
        if not 1 <= settings.size <= channels:
            raise RecipeError(
                f"front_conv_adapter(size={settings.size}): at '{site.name}' the size goes from 1 to {channels}"
            )
        inner = settings.size if conv.in_channels > 1 else channels
        self.down = nn.Conv1d(conv.in_channels, inner, kernel)
        self.up = nn.Conv1d(inner, channels, 1)
        nn.init.kaiming_normal_(self.down.weight)
        nn.init.kaiming_normal_(self.up.weight)
        if settings.start == "identity":
            nn.init.zeros_(self.up.weight)
            nn.init.zeros_(self.up.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, y: Tensor) -> Tensor:  # (batch, channels in, time), (batch, channels, shorter time)
        """Returns y with the convolutions of x added."""
        own = (tensor.to(x.dtype) for tensor in (*self.down.parameters(), *self.up.parameters()))
        weight, bias, up, up_bias = own
        return y + F.conv1d(F.gelu(F.conv1d(x, weight, bias, self.stride, self.padding)), up, up_bias)
