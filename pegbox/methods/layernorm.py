"""LayerNorm tuning: only the norms of the blocks are trained (Zhao et al., 2023, arXiv:2312.11420)."""

from collections.abc import Iterator
from dataclasses import dataclass

from pegbox.errors import RecipeError
from pegbox.methods._parts import shifts
from pegbox.sites import Edit, Sites


@dataclass(frozen=True)
class LayerNorm:
    """Trains weight and bias of the norms `at`, as differences; identity at the start."""

    at: tuple[str, ...] = ("norm1", "norm2")

    def plan(self, sites: Sites) -> Iterator[Edit]:
        """Yields one shift of each tensor that a norm has."""
        for site in sites(*self.at):
            if not site.role.startswith("norm"):
                raise RecipeError(f"layernorm: the site '{site.name}' is no norm; choose from norm1, norm2")
        yield from shifts(sites(*self.at), "weight", "bias")
