"""LayerNorm tuning: only norms are trained (Zhao et al., 2023, arXiv:2312.11420)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from torch import nn

from pegbox.errors import RecipeError
from pegbox.methods._parts import shift, shifts
from pegbox.sites import Edit, Sites

NORMS: Final = (nn.LayerNorm, nn.GroupNorm)


@dataclass(frozen=True)
class LayerNorm:
    """Trains weight and bias of the norms `at`, as differences; identity at the start.

    `outside`: also of the norms outside the blocks, such as those of the front-end, the projection and the end.
    """

    at: tuple[str, ...] = ("norm1", "norm2")
    outside: bool = False

    def plan(self, sites: Sites) -> Iterator[Edit]:
        """Yields one shift of each tensor that a norm has."""
        for site in sites(*self.at):
            if not site.role.startswith("norm"):
                raise RecipeError(f"layernorm: the site '{site.name}' is no norm; choose from norm1, norm2")
        yield from shifts(sites(*self.at), "weight", "bias")
        if self.outside:
            outer = [(site, tensor) for site, tensor in sites.outside() if isinstance(site.owner, NORMS)]
            yield from (shift(site, tensor) for site, tensor in outer)
