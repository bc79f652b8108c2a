"""Frames put before those of a block: drawn, trained, and told what became of them."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from pegbox.errors import RecipeError
from pegbox.methods._parts import check_length
from pegbox.methods._shared import Shared
from pegbox.sites import Edit, Prompts, Sites, before


def passing(sites: Sites, own: "Own") -> Iterator[Edit]:
    """Yields prompts at the first block that pass through all the others."""
    first, *others = sites("enter")
    own.passes = bool(others)
    yield before(first, own)
    for number, site in enumerate(others, 1):
        yield before(site, Passed(own, number))


def pseudo_features(name: str, sites: Sites, length: int) -> Iterator[Edit]:
    """Yields trained features that the network's projection maps to prompts, which pass through all blocks."""
    through = sites.projection
    if through is None:
        raise RecipeError(f"{name}: {sites.family} has no site between a front-end's features and its frames")
    yield from passing(sites, Own(name, length, sites, "normal", through))


class Own(Prompts, Shared):
    """Trained prompts of one block. `start="states"`: what the first batch in training brings, as real frames are.

    Each is the mean of the frames of all clips that stand at every `length`-th place, so that no two are alike.
    """

    passes = False  # whether the next block goes on with what this one makes of them

    def __init__(self, name: str, length: int, sites: Sites, start: str, through: nn.Module | None = None) -> None:
        super().__init__()
        check_length(name, length, sites)
        maps = () if through is None else through.modules()
        width = next((part.in_features for part in maps if isinstance(part, nn.Linear)), sites.width)
        self.frames = nn.Parameter(torch.ones(length, width) if start == "ones" else torch.zeros(length, width))
        if start == "uniform":  # as visual prompt tuning draws them, arXiv:2203.12119
            nn.init.uniform_(self.frames, -((6 / (3 * 256 + width)) ** 0.5), (6 / (3 * 256 + width)) ** 0.5)
        if start == "xavier":  # over (1, length, width), as IPET draws them, arXiv:2211.02227
            nn.init.xavier_uniform_(self.frames.data[None])
        if start == "normal":
            nn.init.normal_(self.frames)
        self.waits = start == "states"
        self.through = (through,)  # in a tuple: the network's own, and no part of the method
        self.after = dict[int, Tensor]()  # what each block made of them, until the next one takes it

    def forward(self, x: Tensor) -> Tensor:  # (batch, time, width) → (batch, prompts, width)
        """Returns the same prompts for every clip."""
        if self.waits and self.training and torch.is_grad_enabled():
            self._begin(x)
        return self._mapped().to(x.dtype).expand(len(x), -1, -1)

    @torch.no_grad()
    def _begin(self, x: Tensor) -> None:  # (batch, time, width)
        self.waits = False
        if self.frames.any():  # they have begun before an interruption
            return
        x, real = x.float(), torch.ones_like(x[..., :1]) if self.real is None else self.real[..., None]
        places = torch.arange(x.shape[1], device=x.device) % len(self.frames)
        rows = torch.cat([x * real, real.float()], -1).sum(0)  # (time, width + 1)
        told = self.total(rows.new_zeros(len(self.frames), rows.shape[1]).index_add_(0, places, rows))
        whole, count = told.sum(0, keepdim=True), told[:, -1:]
        told = torch.where(count > 0, told, whole)  # clips with fewer frames than prompts leave some without any
        self.frames.copy_(told[:, :-1] / told[:, -1:])

    def _mapped(self) -> Tensor:  # (prompts, width), or (1, prompts, width)
        through = self.through[0]
        if through is None:
            return self.frames
        made = through(self.frames[None].to(next(through.parameters()).dtype))
        return made[0] if isinstance(made, tuple) else made  # type: ignore[no-any-return]

    def behind(self, prompts: Tensor) -> None:  # (batch, prompts, width)
        """Keeps what the block made of them, where a block goes on with it."""
        self.after = {0: prompts} if self.passes else {}


class Passed(Prompts):
    """The prompts as the block before left them; a block that is computed again for its gradient finds them as then."""

    def __init__(self, first: Own, number: int) -> None:
        super().__init__()
        self.first = (first,)  # in a tuple: its numbers are kept once, with the first block
        self.number = number
        self.given = torch.zeros(0)

    def forward(self, x: Tensor) -> Tensor:  # (batch, time, width) → (batch, prompts, width)
        """Returns what came out of the block before."""
        handed = self.first[0].after.pop(self.number - 1, None)
        if handed is None:  # taken already
            return self.given
        self.given = handed.detach().requires_grad_(handed.requires_grad)
        return handed

    def behind(self, prompts: Tensor) -> None:  # (batch, prompts, width)
        """Hands it on."""
        self.first[0].after[self.number] = prompts
