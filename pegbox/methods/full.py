"""Full tuning: every tensor of the backbone is trained in place; the baseline of the field."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from pegbox.sites import Edit, Sites, free


@dataclass(frozen=True)
class Full:
    """Frees the whole backbone."""

    learning_rate: ClassVar[float] = 5e-5

    def plan(self, sites: Sites) -> Iterator[Edit]:
        """Yields the one edit that frees everything."""
        yield free()
