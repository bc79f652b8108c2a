"""Bottleneck adapters (Houlsby, 2019, arXiv:1902.00751; Pfeiffer, 2020; parallel: He, 2022, arXiv:2110.04366)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from pegbox.methods._adapter import Adapter
from pegbox.sites import Edit, Sites, around


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
        parallel = self.form == "parallel"
        for site in sites(*self.at):
            adapter = Adapter(
                "bottleneck", site, self.size, self.activation, parallel=parallel, norm=self.norm, scale=self.scale
            )
            yield around(site, adapter)
