"""LoRA: a low-rank matrix added to a weight (Hu et al., 2021, arXiv:2106.09685)."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor, nn

from pegbox.errors import RecipeError
from pegbox.methods._low_rank import Decomposed, LowRank, LowRankWeight
from pegbox.methods._parts import check_scale
from pegbox.methods._weights import check_rank
from pegbox.sites import Edit, Site, Sites, around, on


@dataclass(frozen=True)
class LoRA:
    """Adds (alpha / rank)·B·A to the weights of the linear maps and convolutions `at`; identity at the start (B = 0).

    `rslora` divides by the root of the rank (arXiv:2312.03732), `dora` trains each row's length apart from its
    direction (arXiv:2402.09353), `up_rate` is the rate of B as a multiple of A's (LoRA+, arXiv:2402.12354).
    """

    rank: int = 8
    alpha: float = 16.0
    at: tuple[str, ...] = ("q", "v")
    dropout: float = 0.0
    rslora: bool = False
    dora: bool = False
    up_rate: float = 1.0

    def __post_init__(self) -> None:
        check_scale("lora", self.alpha, "alpha")
        if not 0 <= self.dropout < 1:
            raise RecipeError(f"lora(dropout={self.dropout}): a share from 0 up to, not including, 1")
        if self.up_rate <= 0:
            raise RecipeError(f"lora(up_rate={self.up_rate}): a multiple above 0 of the method's rate, such as 16")

    def plan(self, sites: Sites) -> Iterator[Edit]:
        """Yields one low-rank edit a site."""
        for site in sites(*self.at):
            edit = self._edit(site, _weight(site, self.rank))
            edit.module.rates = {"up": self.up_rate}  # type: ignore[union-attr]
            yield edit

    def _edit(self, site: Site, weight: Tensor) -> Edit:
        scale = self.alpha / (math.sqrt(self.rank) if self.rslora else self.rank)
        if weight.ndim == 2 and not self.dora:
            return around(site, LowRank(site, self.rank, scale, self.dropout))
        if self.dropout:
            raise RecipeError(
                f"lora(dropout={self.dropout}): with dora=True and at convolutions the weight itself is changed, "
                f"so that at '{site.name}' there is no input to drop; leave dropout at 0"
            )
        return on(site, "weight", (Decomposed if self.dora else LowRankWeight)(weight, self.rank, scale))


def _weight(site: Site, rank: int) -> Tensor:
    owner = site.owner
    if not isinstance(owner, nn.Linear | nn.Conv1d | nn.Conv2d):
        raise RecipeError(
            f"lora: the site '{site.name}' is no linear module or convolution; choose from q, k, v, o, up, down, conv"
        )
    if isinstance(owner, nn.Conv1d | nn.Conv2d) and owner.groups > 1:
        raise RecipeError(f"lora: the convolution at '{site.name}' has {owner.groups} groups, which no product spans")
    check_rank("lora", rank, site, min(owner.weight.flatten(1).shape))
    return owner.weight
