"""Frames put before those of a block: drawn, trained, and told what became of them."""

import torch
from torch import Tensor, nn

from pegbox.errors import RecipeError
from pegbox.sites import Prompts


class Own(Prompts):
    """Trained prompts of one block."""

    def __init__(self, name: str, length: int, width: int, start: str, passes: bool = False) -> None:
        super().__init__()
        if length < 1:
            raise RecipeError(f"{name}(length={length}): at least one prompt")
        self.frames = nn.Parameter(torch.ones(length, width) if start == "ones" else torch.zeros(length, width))
        if start == "uniform":  # as visual prompt tuning draws them, arXiv:2203.12119
            nn.init.uniform_(self.frames, -((6 / (3 * 256 + width)) ** 0.5), (6 / (3 * 256 + width)) ** 0.5)
        if start == "xavier":  # over (1, length, width), as IPET draws them, arXiv:2211.02227
            nn.init.xavier_uniform_(self.frames.data[None])
        self.passes, self.after = passes, list[Tensor]()

    def forward(self, x: Tensor) -> Tensor:  # (batch, time, width) → (batch, prompts, width)
        """Returns the same prompts for every clip."""
        return self.frames.to(x.dtype).expand(len(x), -1, -1)

    def behind(self, prompts: Tensor) -> None:  # (batch, prompts, width)
        """Keeps what the block made of them, where a block goes on with it."""
        self.after[:] = [prompts] if self.passes else []


class Passed(Prompts):
    """The prompts as the block before left them."""

    def __init__(self, first: Own) -> None:
        super().__init__()
        self.first = (first,)  # in a tuple: its numbers are kept once, with the first block

    def forward(self, x: Tensor) -> Tensor:  # (batch, time, width) → (batch, prompts, width)
        """Returns what came out of the block before."""
        return self.first[0].after.pop()

    def behind(self, prompts: Tensor) -> None:  # (batch, prompts, width)
        """Hands it on."""
        self.first[0].behind(prompts)
