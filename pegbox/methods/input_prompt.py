"""Input prompt: a trained frame around the spectrogram (Bahng et al., arXiv:2203.17274; in IPET, arXiv:2211.02227)."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pegbox.errors import RecipeError
from pegbox.sites import Edit, Sites, around


@dataclass(frozen=True)
class InputPrompt:
    """Adds a border, `border` numbers wide, to a normalised spectrogram of fixed size: AST's.

    Its upper and lower sides are the first and last frames, left and right the lowest and highest bands. Drawn from
    N(0, 1) as in the papers, so not the identity; `start="zeros"` is.
    """

    border: int = 10
    start: Literal["normal", "zeros"] = "normal"

    def plan(self, sites: Sites) -> Iterator[Edit]:
        """Yields the one edit of the input."""
        if sites.spectrogram is None:
            raise RecipeError(f"input_prompt: {sites.family} has no site with a spectrogram of fixed size, as AST has")
        most = (min(sites.spectrogram) - 1) // 2
        if not 1 <= self.border <= most:
            raise RecipeError(f"input_prompt(border={self.border}): from 1 to {most} around {sites.spectrogram}")
        for site in sites("conv.0"):
            yield around(replace(site, place="input"), Border(*sites.spectrogram, self))


class Border(nn.Module):
    """x plus the border, whose inside is zero."""

    def __init__(self, frames: int, bands: int, settings: InputPrompt) -> None:
        super().__init__()
        border = settings.border
        draw = torch.randn if settings.start == "normal" else torch.zeros
        self.ends = nn.Parameter(draw(2, border, bands))
        self.sides = nn.Parameter(draw(2, frames - 2 * border, border))
        self.inside = bands - 2 * border

    def forward(self, x: Tensor, _: Tensor) -> Tensor:  # (batch, 1, bands, frames)
        """Returns x with the border added."""
        left, right = self.sides
        middle = torch.cat([F.pad(left, (0, self.inside)), right], 1)
        return x + torch.cat([self.ends[0], middle, self.ends[1]]).mT.to(x.dtype)
