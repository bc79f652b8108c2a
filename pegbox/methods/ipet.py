"""IPET: embedding prompts and a scaled adapter beside the FFN in every block (Kim et al., 2023, arXiv:2211.02227)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from pegbox.errors import RecipeError
from pegbox.methods._parts import Affine, check_scale
from pegbox.methods._prompt import Own
from pegbox.sites import Edit, Site, Sites, around, before, beside_ffn


@dataclass(frozen=True)
class Ipet:
    """`prompts` frames a block and y + scale · up(dropout(relu(down(x)))) beside the FFN, x before any norm.

    `residual="again"` adds x once more, as the published wav2vec 2.0 code does, against its own figure; `start="drawn"`
    is the start that code really has, N(0, 0.02) in both matrices, instead of a zero `up`.
    """

    prompts: int = 4
    size: int = 32
    scale: float = 0.1
    dropout: float = 0.1
    residual: Literal["none", "again"] = "none"
    start: Literal["zero", "drawn"] = "zero"

    def plan(self, sites: Sites) -> Iterator[Edit]:
        """Yields prompts and adapter of each block."""
        for site in sites("enter"):
            yield before(site, Own("ipet", self.prompts, sites, "xavier"))
        for site in beside_ffn(sites):
            yield around(site, Beside(site, self))


class Beside(nn.Module):
    """y with a bottleneck of x added."""

    def __init__(self, site: Site, settings: Ipet) -> None:
        super().__init__()
        width = site.output_width
        if not 1 <= settings.size <= width or not 0 <= settings.dropout < 1:
            raise RecipeError(
                f"ipet(size={settings.size}, dropout={settings.dropout}): a size from 1 to {width}, a dropout below 1"
            )
        check_scale("ipet", settings.scale)
        self.scale, self.again = settings.scale, settings.residual == "again"
        self.down, self.up = Affine(width, settings.size), Affine(settings.size, width)
        self.dropout = nn.Dropout(settings.dropout)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)
        nn.init.zeros_(self.down.bias)
        if settings.start == "drawn":
            nn.init.normal_(self.down.weight, std=0.02)
            nn.init.normal_(self.up.weight, std=0.02)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:  # (batch, time, width), (batch, time, width)
        """Returns y with the scaled bottleneck added."""
        added: Tensor = self.up(self.dropout(self.down(x).relu()))
        return y + self.scale * added + (x if self.again else 0)
