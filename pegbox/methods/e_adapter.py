"""E-adapters: a bottleneck after the FFN whose output is normed (Otake et al., 2023, arXiv:2212.02780)."""

from collections.abc import Iterator
from dataclasses import dataclass

from pegbox.methods._encoder_adapter import encoder_adapters
from pegbox.sites import Edit, Sites


@dataclass(frozen=True)
class EAdapter:
    """y + LN(up(gelu(down(y)))) after the FFN of every block but the last; a range of blocks is taken as it is.

    Near the identity at the start: what is normed is far smaller than the norm's eps. The authors also train the
    blocks' norms: `e_adapter + layernorm`.
    """

    size: int = 256

    def plan(self, sites: Sites) -> Iterator[Edit]:
        """Yields one adapter a block."""
        yield from encoder_adapters("e_adapter", sites, self.size)
