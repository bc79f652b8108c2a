"""Shallow prompts: trained frames before the first block that pass through all the others (arXiv:2104.08691)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from pegbox.methods._prompt import Own, Passed
from pegbox.sites import Edit, Sites, before


@dataclass(frozen=True)
class ShallowPrompt:
    """`length` frames, behind the positional convolution; heads never see them. Not the identity."""

    length: int = 10
    start: Literal["ones", "uniform", "zeros"] = "uniform"

    def plan(self, sites: Sites) -> Iterator[Edit]:
        """Yields the prompts of the first block, and their passage through the following ones."""
        first, *others = sites("enter")
        own = Own("shallow_prompt", self.length, sites.width, self.start, passes=bool(others))
        yield before(first, own)
        for site in others:
            yield before(site, Passed(own))
