"""Linear probe: the frozen last layer under a trained head."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from pegbox.sites import Edit, Sites


@dataclass(frozen=True)
class LinearProbe:
    """No edits; the head reads the last hidden state."""

    features: ClassVar[str] = "last"

    def plan(self, sites: Sites) -> Iterator[Edit]:
        """Yields nothing."""
        yield from ()
