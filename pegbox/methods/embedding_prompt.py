"""Embedding prompts: IPET's frames before those of every block (Kim et al., 2023, arXiv:2211.02227)."""

from collections.abc import Iterator
from dataclasses import dataclass

from pegbox.methods._prompt import Own
from pegbox.sites import Edit, Sites, before


@dataclass(frozen=True)
class EmbeddingPrompt:
    """`length` frames a block, Xavier-uniform at the start; they leave behind the same block. Not the identity."""

    length: int = 4

    def plan(self, sites: Sites) -> Iterator[Edit]:
        """Yields the prompts of each block."""
        for site in sites("enter"):
            yield before(site, Own("embedding_prompt", self.length, sites, "xavier"))
