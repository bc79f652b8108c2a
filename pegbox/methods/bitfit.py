"""BitFit: only biases are trained (Ben Zaken et al., 2021, arXiv:2106.10199).

Stored as differences. The published count includes the key's bias, which softmax attention cannot see: adding
the same number to every score of a query changes nothing. Take `k` out of `at` to leave it alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from pegbox.methods._parts import shift, shifts
from pegbox.sites import Edit, Sites


@dataclass(frozen=True)
class BitFit:
    """Trains the bias of every module at the sites `at` that has one; identity at the start.

    `outside`: also every bias outside the blocks, such as those of the projection and of positional convolutions.
    """

    at: tuple[str, ...] = ("q", "k", "v", "o", "norm1", "up", "down", "norm2")
    outside: bool = False

    def plan(self, sites: Sites) -> Iterator[Edit]:
        """Yields one shift of a bias a site."""
        yield from shifts(sites(*self.at), "bias")
        if self.outside:
            yield from (shift(site, tensor) for site, tensor in sites.outside() if tensor == "bias")
