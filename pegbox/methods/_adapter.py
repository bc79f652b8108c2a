"""The bottleneck that several methods share: down, activation, up, added to what a site gives."""

from typing import Final

from torch import Tensor, nn

from pegbox.errors import RecipeError
from pegbox.methods._parts import Affine, check_scale, norm_in_fp32
from pegbox.sites import Site

ACTIVATIONS: Final = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU, "tanh": nn.Tanh}


def share(size: int | None, width: int, parts: int) -> int:
    """Returns the chosen size, or where none was chosen one part in `parts` of the width."""
    return max(1, width // parts) if size is None else size


def reduced(name: str, site: Site, width: int, reduction: int) -> int:
    """Returns one part in `reduction` of a width; refuses one that does not divide it."""
    if reduction < 1 or width % reduction:
        raise RecipeError(f"{name}(reduction={reduction}): does not divide the width {width} at '{site.name}'")
    return width // reduction


def check_frames(name: str, site: Site) -> None:
    """Refuses a site whose output is no frames of hidden states."""
    if site.place == "memory" or site.role == "wave" or site.role.startswith("conv"):
        raise RecipeError(f"{name}: the site '{site.name}' holds no frames; choose from enter … leave, frames")


def fitting(name: str, site: Site, size: int, parallel: bool = False, option: str = "size") -> int:
    """Returns the width that a bottleneck reads at a site, or refuses a site or size that cannot be meant."""
    check_frames(name, site)
    reads = site.input_width if parallel else site.output_width
    if not 1 <= size <= reads:
        raise RecipeError(f"{name}({option}={size}): at '{site.name}' the size goes from 1 to {reads}")
    return reads


class Adapter(nn.Module):
    """y + scale·B(y), or y + scale·B(x) in the parallel form; identity at the start (up = 0).

    The scale may be a number, or a parameter: of one element, or one a channel.
    """

    def __init__(
        self,
        name: str,
        site: Site,
        size: int,
        activation: str,
        *,
        parallel: bool = False,
        norm: bool = False,
        scale: float | nn.Parameter = 1.0,
        option: str = "size",
    ) -> None:
        super().__init__()
        reads = fitting(name, site, size, parallel, option)
        if not isinstance(scale, Tensor):
            check_scale(name, scale)
        self.parallel, self.scale = parallel, scale
        self.norm = nn.LayerNorm(reads) if norm else None
        self.down = Affine(reads, size)
        self.activation = ACTIVATIONS[activation]()
        self.up = Affine(size, site.output_width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:  # (batch, time, in), (batch, time, out)
        """Returns y with the bottleneck's output added."""
        reads = x if self.parallel else y
        inner = reads if self.norm is None else norm_in_fp32(self.norm, reads)
        added: Tensor = self.up(self.activation(self.down(inner)))
        return y + added * (self.scale.to(y.dtype) if isinstance(self.scale, Tensor) else self.scale)
