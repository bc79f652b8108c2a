"""E-adapters: bottlenecks after the FFN whose output is normed (Otake et al., 2023, arXiv:2212.02780)."""

from collections.abc import Iterator

from torch import Tensor, nn
from torch.nn import functional as F

from pegbox.errors import RecipeError
from pegbox.methods._parts import Affine, draw, norm_in_fp32, slow_down
from pegbox.sites import Edit, Site, Sites, around


def encoder_adapters(name: str, sites: Sites, size: int) -> Iterator[Edit]:
    """Yields one E-adapter a block, of all blocks but the last; a range of blocks is taken as it is."""
    whole = len(sites.chosen) == sites.depth
    for site in sites("ffn"):
        if not (whole and site.block == sites.depth - 1):
            yield around(site, Normed(name, site, size))


class Normed(nn.Module):
    """y plus the normed output of a bottleneck, which learns at a tenth of the rate: the norm makes much of little."""

    def __init__(self, name: str, site: Site, size: int) -> None:
        super().__init__()
        if size < 1:
            raise RecipeError(f"{name}: an E-adapter of size {size} at '{site.name}'; at least 1, the authors use 256")
        self.down, self.up = Affine(site.output_width, size), Affine(size, site.output_width)
        self.norm = nn.LayerNorm(site.output_width)
        draw(self, 1e-3)
        slow_down(self)

    def forward(self, _: Tensor, y: Tensor) -> Tensor:  # (batch, time, in), (batch, time, out)
        """Returns y with the normed bottleneck added."""
        return y + norm_in_fp32(self.norm, self.up(F.gelu(self.down(y))))
