"""Bottleneck adapters (Houlsby, 2019, arXiv:1902.00751; Pfeiffer, 2020; parallel: He, 2022, arXiv:2110.04366)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from pegbox.errors import RecipeError
from pegbox.methods._adapter import Adapter, reduced
from pegbox.methods._parts import draw
from pegbox.sites import Edit, Site, Sites, around


@dataclass(frozen=True)
class Bottleneck:
    """Adds scale·up(activation(down(·))) at the sites `at`; identity at the start (up = 0).

    `form="sequential"` reads the site's output (`at=["ffn"]`: after the FFN, as Pfeiffer; `at=["attn", "ffn"]`:
    after both, as Houlsby); `form="parallel"` reads the site's input. `size` counts bottleneck units, 32 where
    nothing else is said; `reduction` instead: one part in so many of what is read. `norm=True` puts a layer norm before
    `down`. `start="paper"` draws both maps from N(0, 0.02²), as SURE (arXiv:2303.03267) has them.
    """

    size: int | None = None
    at: tuple[str, ...] = ("ffn",)
    form: Literal["sequential", "parallel"] = "sequential"
    scale: float = 1.0
    activation: Literal["relu", "gelu", "silu", "tanh"] = "gelu"
    norm: bool = False
    reduction: int | None = None
    start: Literal["identity", "paper"] = "identity"

    def __post_init__(self) -> None:
        if self.size is not None and self.reduction is not None:
            raise RecipeError(f"bottleneck(size={self.size}, reduction={self.reduction}): give one of the two")

    def plan(self, sites: Sites) -> Iterator[Edit]:
        """Yields one bottleneck a site."""
        parallel = self.form == "parallel"
        for site in sites(*self.at):
            size = self._size(site)
            adapter = Adapter(
                "bottleneck", site, size, self.activation, parallel=parallel, norm=self.norm, scale=self.scale
            )
            if self.start == "paper":
                draw(adapter, 0.02)
            yield around(site, adapter)

    def _size(self, site: Site) -> int:
        if self.reduction is None:
            return 32 if self.size is None else self.size
        width = site.input_width if self.form == "parallel" else site.output_width
        return reduced("bottleneck", site, width, self.reduction)
