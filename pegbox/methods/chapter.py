"""CHAPTER: a trained copy beside each convolution block of the front-end (Chen et al., 2022, arXiv:2212.01282)."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from pegbox.errors import RecipeError
from pegbox.methods._parts import check_scale, norm_in_fp32
from pegbox.sites import Edit, Site, Sites, around


@dataclass(frozen=True)
class Chapter:
    """y + scale·gelu(norm(conv(x))) at each convolution block of the front-end, of its own shape, without bias.

    The norm is of the kind that the block has, if any; the convolutions start at zero (identity). Houlsby's adapters,
    the paper's other half, are a term of a union.
    """

    scale: float = 0.01

    def plan(self, sites: Sites) -> Iterator[Edit]:
        """Yields one block a convolution."""
        check_scale("chapter", self.scale)
        for site in sites("conv"):
            yield around(site, Block(site, sites.family, self.scale))


class Block(nn.Module):
    """y plus the scaled copy's output; a norm of zeros magnifies the first gradients, as the paper's does."""

    def __init__(self, site: Site, family: str, scale: float) -> None:
        super().__init__()
        own = site.owner
        if not isinstance(own, nn.Conv1d) or own is site.exit:
            raise RecipeError(
                f"chapter: {family} has no site that is a block of convolution, norm and activation; "
                f"its '{site.name}' is a convolution alone"
            )
        self.scale = scale
        self.conv = nn.Conv1d(own.in_channels, own.out_channels, own.kernel_size[0], own.stride[0], bias=False)
        nn.init.zeros_(self.conv.weight)
        norms = [_fresh(child) for child in site.exit.children() if isinstance(child, nn.GroupNorm | nn.LayerNorm)]
        self.norm = norms[0] if norms else None

    def forward(self, x: Tensor, y: Tensor) -> Tensor:  # (batch, channels in, time), (batch, channels, shorter time)
        """Returns y with the copy's output added."""
        inner = F.conv1d(x, self.conv.weight.to(x.dtype), stride=self.conv.stride)
        if isinstance(self.norm, nn.GroupNorm):
            inner = norm_in_fp32(self.norm, inner)
        elif self.norm is not None:  # over the channels
            inner = norm_in_fp32(self.norm, inner.mT).mT
        return y + self.scale * F.gelu(inner)


def _fresh(norm: nn.GroupNorm | nn.LayerNorm) -> nn.Module:
    if isinstance(norm, nn.GroupNorm):
        return nn.GroupNorm(norm.num_groups, norm.num_channels, norm.eps)
    return nn.LayerNorm(norm.normalized_shape, norm.eps)
