"""Hydra: a low-rank map beside a projection and one behind it, both linear (Kim et al., 2023, arXiv:2309.06922)."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor, nn

from pegbox.errors import RecipeError
from pegbox.methods._parts import Affine, check_scale
from pegbox.methods._weights import check_rank, linear
from pegbox.sites import Edit, Site, Sites, around


@dataclass(frozen=True)
class Hydra:
    """y + scale·(P(x) + S(y)) at the linear sites `at`, of x = their input and y = their output; ups start at zero."""

    rank: int = 8
    scale: float = 1.0
    at: tuple[str, ...] = ("o", "down")

    def plan(self, sites: Sites) -> Iterator[Edit]:
        """Yields one pair of maps a site."""
        check_scale("hydra", self.scale)
        for site in sites(*self.at):
            if linear("hydra", site, sites).bias is None:
                raise RecipeError(f"hydra: the module at '{site.name}' has no bias to merge into; take it out of 'at'")
            check_rank("hydra", self.rank, site, min(site.input_width, site.output_width))
            yield around(site, Branches(site, self.rank, self.scale))


class Branches(nn.Module):
    """y + scale·(P(x) + S(y))."""

    def __init__(self, site: Site, rank: int, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.parallel = _low_rank(site.input_width, rank, site.output_width)
        self.sequential = _low_rank(site.output_width, rank, site.output_width)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:  # (batch, time, in), (batch, time, out)
        """Returns y with both branches added."""
        added: Tensor = self.parallel(x) + self.sequential(y)
        return y + self.scale * added

    def merged(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Returns the weight and the bias with both branches in them."""
        if bias is None:
            raise RecipeError("hydra: no bias to merge into")
        (beside, shift), (behind, more) = _product(self.parallel), _product(self.sequential)
        whole, start = weight.float(), bias.float()
        return (
            (whole + self.scale * (beside + behind @ whole)).to(weight.dtype),
            (start + self.scale * (behind @ start + shift + more)).to(bias.dtype),
        )


def _low_rank(width: int, rank: int, out: int) -> nn.Sequential:
    down, up = Affine(width, rank), Affine(rank, out)
    nn.init.xavier_uniform_(down.weight)
    for tensor in (down.bias, up.weight, up.bias):
        nn.init.zeros_(tensor)
    return nn.Sequential(down, up)


def _product(branch: nn.Sequential) -> tuple[Tensor, Tensor]:  # → (out, in), (out,)
    down, up = (map_ for map_ in branch if isinstance(map_, Affine))
    return up.weight @ down.weight, up.weight @ down.bias + up.bias
