"""Weighted sum: trained softmax weights over all frozen hidden states (SUPERB, arXiv:2105.01051)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from pegbox.sites import Edit, Sites


@dataclass(frozen=True)
class WeightedSum:
    """No edits; the head reads the weighted sum of all hidden states."""

    features: ClassVar[str] = "weighted"

    def plan(self, sites: Sites) -> Iterator[Edit]:
        """Yields nothing."""
        yield from ()
