"""Mixture of adapters: several bottlenecks beside a part, and a router (Cappellazzo et al., 2024, arXiv:2402.00828)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from pegbox.errors import RecipeError
from pegbox.methods._adapter import fitting, share
from pegbox.methods._parts import Affine, check_scale
from pegbox.sites import Edit, Mixing, Site, Sites, around


@dataclass(frozen=True)
class MixtureOfAdapters:
    """y + scale · the mixed bottlenecks of x, the input of the parts `at`; identity at the start (up = 0).

    `route="soft"`: each bottleneck is given `slots` means over the clip's frames, whose weights are trained, and each
    frame takes a mean of what comes out. `route="dense"`: each frame goes through all and takes a mean, by a trained
    map of the frame. Without a size, 1/128 of the width, as the authors have it.
    """

    experts: int = 7
    size: int | None = None
    route: Literal["soft", "dense"] = "soft"
    slots: int = 1
    at: tuple[str, ...] = ("ffn",)
    scale: float = 1.0

    def plan(self, sites: Sites) -> Iterator[Edit]:
        """Yields one mixture a site."""
        if self.experts < 1 or self.slots < 1:
            raise RecipeError(f"moa(experts={self.experts}, slots={self.slots}): at least one of each")
        if self.route == "dense" and self.slots != 1:
            raise RecipeError(f"moa(slots={self.slots}): slots are those of route='soft'; leave them out")
        check_scale("moa", self.scale)
        for site in sites(*self.at):
            yield around(site, (Soft if self.route == "soft" else Dense)(site, self))


class Bottlenecks(nn.Module):
    """Several bottlenecks, the first one for the first of its inputs, and so on."""

    def __init__(self, count: int, reads: int, size: int, writes: int) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.empty(count, reads, size))
        self.down_bias = nn.Parameter(torch.zeros(count, 1, size))
        self.up = nn.Parameter(torch.zeros(count, size, writes))
        self.up_bias = nn.Parameter(torch.zeros(count, 1, writes))
        nn.init.uniform_(self.down, -(reads**-0.5), reads**-0.5)  # as torch draws a linear map

    def forward(self, x: Tensor) -> Tensor:  # (…, experts, frames, in) → (…, experts, frames, out)
        """Returns what each makes of its own input."""
        down, down_bias, up, up_bias = (each.to(x.dtype) for each in (self.down, self.down_bias, self.up, self.up_bias))
        return torch.matmul(torch.relu(torch.matmul(x, down) + down_bias), up) + up_bias


class Soft(Mixing):
    """Slots: means over a clip's real frames that go through the bottlenecks, and come back as means over slots."""

    def __init__(self, site: Site, settings: MixtureOfAdapters) -> None:
        super().__init__()
        reads, self.scale, self.experts = _reads(site, settings), settings.scale, settings.experts
        self.slots = nn.Parameter(torch.empty(reads, settings.experts * settings.slots))
        self.bottlenecks = _bottlenecks(site, settings, reads)
        nn.init.xavier_uniform_(self.slots)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:  # (batch, time, in), (batch, time, out)
        """Returns y with the mixture of x added; padded frames are in no mean."""
        fits = (x @ self.slots.to(x.dtype)).float()
        padded = None if self.real is None else ~self.real.bool()[..., None]
        heard = fits if padded is None else fits.masked_fill(padded, -torch.inf)
        given = heard.softmax(1).to(x.dtype).transpose(1, 2) @ x  # (batch, slots, in)
        made: Tensor = self.bottlenecks(given.reshape(len(x), self.experts, -1, x.shape[2])).flatten(1, 2)
        return y + self.scale * (fits.softmax(2).to(x.dtype) @ made)


class Dense(nn.Module):
    """Every frame through every bottleneck, and a mean of them by a map of the frame."""

    def __init__(self, site: Site, settings: MixtureOfAdapters) -> None:
        super().__init__()
        reads, self.scale = _reads(site, settings), settings.scale
        self.router = Affine(reads, settings.experts)
        self.bottlenecks = _bottlenecks(site, settings, reads)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:  # (batch, time, in), (batch, time, out)
        """Returns y with the mixture of x added."""
        shares = self.router(x).float().softmax(-1).to(x.dtype)  # (batch, time, experts)
        made = self.bottlenecks(x[:, None])  # (batch, experts, time, out)
        return y + self.scale * torch.einsum("bte,beto->bto", shares, made)


def _reads(site: Site, settings: MixtureOfAdapters) -> int:
    return fitting("moa", site, share(settings.size, site.input_width, 128), parallel=True)


def _bottlenecks(site: Site, settings: MixtureOfAdapters, reads: int) -> Bottlenecks:
    return Bottlenecks(settings.experts, reads, share(settings.size, reads, 128), site.output_width)
