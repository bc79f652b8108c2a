"""LoRA-FA: LoRA whose A stays as drawn, so that no input need be kept for it (Zhang et al., 2023, arXiv:2308.03303)."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from pegbox.methods._low_rank import LowRank
from pegbox.methods._parts import check_scale
from pegbox.methods._weights import check_rank, linear, uniform
from pegbox.sites import Edit, Sites, around


@dataclass(frozen=True)
class LoRAFA:
    """Adds (alpha / rank)·B·A at the linear sites `at` and trains B alone; identity at the start (B = 0).

    A is drawn from `seed` and the site's name, again at every load; no file holds it.
    """

    rank: int = 8
    alpha: float = 16.0
    at: tuple[str, ...] = ("q", "v")
    seed: int = 0

    def plan(self, sites: Sites) -> Iterator[Edit]:
        """Yields one low-rank edit a site."""
        check_scale("lora_fa", self.alpha, "alpha")
        for site in sites(*self.at):
            width = linear("lora_fa", site, sites).in_features
            check_rank("lora_fa", self.rank, site, min(width, site.output_width))
            frozen = uniform(self.rank, width, 1 / math.sqrt(width), self.seed, site.name)
            yield around(site, LowRank(site, self.rank, self.alpha / self.rank, frozen=frozen))
