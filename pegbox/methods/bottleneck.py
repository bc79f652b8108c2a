"""Bottleneck adapters (Houlsby, 2019, arXiv:1902.00751; Pfeiffer, 2020; parallel: He, 2022, arXiv:2110.04366)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from pegbox.errors import RecipeError
from pegbox.methods._parts import Affine
from pegbox.sites import Edit, Site, Sites, around

ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU, "tanh": nn.Tanh}


@dataclass(frozen=True)
class Bottleneck:
    """Adds scale·up(activation(down(·))) at the sites `at`; identity at the start (up = 0).

    `form="sequential"` reads the site's output (`at=["ffn"]`: after the FFN, as Pfeiffer; `at=["attn", "ffn"]`:
    after both, as Houlsby); `form="parallel"` reads the site's input. `size` counts bottleneck units;
    `norm=True` puts a layer norm before `down`.
    """

    size: int = 32
    at: tuple[str, ...] = ("ffn",)
    form: Literal["sequential", "parallel"] = "sequential"
    scale: float = 1.0
    activation: Literal["relu", "gelu", "silu", "tanh"] = "gelu"
    norm: bool = False

    def plan(self, sites: Sites) -> Iterator[Edit]:
        """Yields one bottleneck a site."""
        for site in sites(*self.at):
            yield around(site, Adapter(site, self))


class Adapter(nn.Module):
    """y + scale·B(y), or y + scale·B(x) in the parallel form."""

    def __init__(self, site: Site, settings: Bottleneck) -> None:
        super().__init__()
        parallel = settings.form == "parallel"
        reads = site.input_width if parallel else site.output_width
        if site.place == "memory" or site.role == "wave" or site.role.startswith("conv"):
            raise RecipeError(f"bottleneck: the site '{site.name}' holds no frames; choose from enter … leave, frames")
        if not 1 <= settings.size <= reads:
            raise RecipeError(f"bottleneck(size={settings.size}): at '{site.name}' the size goes from 1 to {reads}")
        self.parallel, self.scale = parallel, settings.scale
        self.norm = nn.LayerNorm(reads) if settings.norm else nn.Identity()
        self.down = Affine(reads, settings.size)
        self.activation = ACTIVATIONS[settings.activation]()
        self.up = Affine(settings.size, site.output_width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:  # (batch, time, in), (batch, time, out)
        """Returns y with the bottleneck's output added."""
        reads = x if self.parallel else y
        inner = self.norm(reads.float()).to(reads.dtype) if isinstance(self.norm, nn.LayerNorm) else reads
        added: Tensor = self.up(self.activation(self.down(inner)))
        return y + self.scale * added
