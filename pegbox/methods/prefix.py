"""Prefix tuning: trained keys and values before the real ones (Li and Liang, 2021, arXiv:2101.00190; as in SURE)."""

from collections.abc import Iterator
from dataclasses import dataclass

from pegbox.methods._prefix import prefixes
from pegbox.sites import Edit, Sites


@dataclass(frozen=True)
class Prefix:
    """`length` keys and values a block, open to every frame; the number of frames stays what it is.

    `projection` is the inner width of the two-layer map that makes them from one table for all blocks; 0 trains them
    directly. `deviation` is that of their first draw (1 in SURE). Never the identity: new keys take attention.
    """

    length: int = 30
    projection: int = 0
    deviation: float = 0.02
    dropout: float = 0.0

    def plan(self, sites: Sites) -> Iterator[Edit]:
        """Yields one prefix a block."""
        yield from prefixes("prefix", sites, self.length, self.projection, self.deviation, self.dropout)
