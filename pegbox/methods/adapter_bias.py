"""AdapterBias: one trained vector a block, weighted frame by frame (Fu et al., 2022, arXiv:2205.00305)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from pegbox.errors import RecipeError
from pegbox.methods._parts import Affine, draw
from pegbox.sites import Edit, Site, Sites, around, owned


@dataclass(frozen=True)
class AdapterBias:
    """Adds vector·alpha(x) to the FFN's output, alpha a trained linear map of the FFN's inner state to one number.

    `start="zeros"` of the vector is the identity; the efficient-tuning study (arXiv:2210.06175) has "ones".
    """

    start: Literal["zeros", "ones"] = "zeros"

    def plan(self, sites: Sites) -> Iterator[Edit]:
        """Yields one weighted vector a block."""
        for site in sites("down"):
            yield around(site, Weighted(site, self.start))


class Weighted(nn.Module):
    """y + vector·alpha(x)."""

    def __init__(self, site: Site, start: str) -> None:
        super().__init__()
        if not (isinstance(site.owner, nn.Linear) and owned(site, "bias")):
            raise RecipeError(
                f"adapter_bias: the site '{site.name}' is no linear module with a bias, as the FFN's last map"
            )
        self.vector = nn.Parameter(torch.full((site.output_width,), float(start == "ones")))
        self.alpha = Affine(site.input_width, 1)
        draw(self, 0.02)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:  # (batch, time, in), (batch, time, out)
        """Returns y with the weighted vector added."""
        return y + self.alpha(x) * self.vector.to(y.dtype)  # type: ignore[no-any-return]

    def merged(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Returns weight and bias with it: linear in x, of rank one."""
        shifted = bias if bias is None else bias + (self.vector * self.alpha.bias).to(bias.dtype)
        return weight + torch.outer(self.vector, self.alpha.weight[0]).to(weight.dtype), shifted
