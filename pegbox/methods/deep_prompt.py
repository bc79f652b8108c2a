"""Deep prompts: trained frames before those of every block, its own each time (arXiv:2203.12119, arXiv:2210.06175)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from pegbox.methods._prompt import Own
from pegbox.sites import Edit, Sites, before


@dataclass(frozen=True)
class DeepPrompt:
    """`length` frames a block, behind the positional convolution; heads never see them. Not the identity.

    `start="states"`: means of the block's own frames in the first batch in training, so that prompts are like frames
    from the first step on; "uniform" as visual prompt tuning draws them.
    """

    length: int = 10
    start: Literal["states", "ones", "uniform", "zeros"] = "states"

    def plan(self, sites: Sites) -> Iterator[Edit]:
        """Yields the prompts of each block."""
        for site in sites("enter"):
            yield before(site, Own("deep_prompt", self.length, sites, self.start))
