"""Shallow prompts: trained frames before the first block that pass through all the others (arXiv:2104.08691)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from pegbox.methods._prompt import Own, passing
from pegbox.sites import Edit, Sites


@dataclass(frozen=True)
class ShallowPrompt:
    """`length` frames, behind the positional convolution; heads never see them. Not the identity.

    `start="states"`: means of the frames that enter the first block in the first batch in training.
    """

    length: int = 10
    start: Literal["states", "ones", "uniform", "zeros"] = "states"

    def plan(self, sites: Sites) -> Iterator[Edit]:
        """Yields the prompts of the first block, and their passage through the following ones."""
        yield from passing(sites, Own("shallow_prompt", self.length, sites, self.start))
