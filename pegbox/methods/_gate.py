"""A trained gate that says for each clip how far a part is open (after UniPELT, arXiv:2110.07577)."""

import torch
from torch import Tensor, nn

from pegbox.methods._parts import Affine


class Gate(nn.Module):
    """sigmoid(w·x + b), meant over a clip's real frames."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.map = Affine(width, 1)

    def forward(self, x: Tensor, real: Tensor | None) -> Tensor:  # (batch, time, width), (batch, time) → (batch, 1, 1)
        """Returns one number a clip, from 0 to 1."""
        opened = torch.sigmoid(self.map(x))
        if real is None:
            return opened.mean(1, keepdim=True)
        share = real[..., None].to(x.dtype)
        return (opened * share).sum(1, keepdim=True) / share.sum(1, keepdim=True)
