"""Reprogramming: one trained signal added to every waveform (Yang et al., 2021, arXiv:2106.09296)."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pegbox.errors import RecipeError
from pegbox.sites import Edit, Sites, around


@dataclass(frozen=True)
class Reprogramming:
    """A signal of `length` samples, repeated over the clip; identity at the start (zeros).

    The gradient passes the whole network to its input, so nothing can be cached. The head is a new one, not an old
    head whose classes are mapped.
    """

    length: int = 16_000

    def plan(self, sites: Sites) -> Iterator[Edit]:
        """Yields the one edit of the input."""
        if self.length < 1:
            raise RecipeError(f"reprogramming(length={self.length}): at least one sample")
        for site in sites("wave"):
            yield around(site, Signal(self.length))


class Signal(nn.Module):
    """x plus the signal, from its beginning."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self.signal = nn.Parameter(torch.zeros(length))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:  # (batch, samples), (batch, samples)
        """Returns the waveforms with the signal added."""
        times = -(-x.shape[1] // len(self.signal))
        return x + self.signal.repeat(times)[: x.shape[1]].to(x.dtype)
