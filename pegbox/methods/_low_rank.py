"""Low-rank differences of a weight, for the methods of LoRA's kind: beside a linear map, or inside any weight."""

from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pegbox.methods._weights import kaiming
from pegbox.sites import Site


class LowRank(nn.Module):
    """y + scale·B·A·x around a linear module; a frozen A is handed in and not kept with the trained numbers."""

    def __init__(self, site: Site, rank: int, scale: float, dropout: float = 0.0, frozen: Tensor | None = None) -> None:
        super().__init__()
        self.scale = scale
        self.dropout = nn.Dropout(dropout)
        if frozen is None:
            self.down = kaiming(rank, site.input_width)
        else:
            self.register_buffer("down", frozen, persistent=False)
        self.up = nn.Parameter(torch.zeros(site.output_width, rank))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:  # (batch, time, in), (batch, time, out)
        """Returns y with the low-rank map of x added."""
        narrow = F.linear(self.dropout(x), self.down.to(x.dtype))
        return y + F.linear(narrow, (self.up * self.scale).to(x.dtype))

    def merged(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Returns the weight with the product in it; the bias stays."""
        return weight + (self.scale * self.up @ self.down).to(weight.dtype), bias


class LowRankWeight(nn.Module):
    """W + scale·B·A for a weight of any shape: `rank` filters of the module's own kernel, mixed by a 1×1."""

    def __init__(self, weight: Tensor, rank: int, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.down = nn.Parameter(kaiming(rank, prod(weight.shape[1:])).detach().view(rank, *weight.shape[1:]))
        self.up = nn.Parameter(torch.zeros(len(weight), rank))

    def forward(self, weight: Tensor) -> Tensor:  # (out, in, *kernel)
        """Returns the weight with the product in it."""
        return weight + self.product().to(weight.dtype)

    def product(self) -> Tensor:  # → (out, in, *kernel)
        """Returns scale·B·A in fp32."""
        return (self.scale * self.up @ self.down.flatten(1)).view(len(self.up), *self.down.shape[1:])


class Decomposed(LowRankWeight):
    """magnitude · (W + scale·B·A) / ‖W + scale·B·A‖, row by row; in the backward pass the norm is a constant."""

    def __init__(self, weight: Tensor, rank: int, scale: float) -> None:
        super().__init__(weight, rank, scale)
        self.magnitude = nn.Parameter(row_norms(weight.detach().float()))

    def forward(self, weight: Tensor) -> Tensor:  # (out, in, *kernel)
        """Returns the weight with its rows turned by the product and of the trained lengths."""
        turned = weight.float() + self.product()
        share = self.magnitude / row_norms(turned).detach()
        return (turned * share.view(-1, *[1] * (weight.ndim - 1))).to(weight.dtype)


def row_norms(weight: Tensor) -> Tensor:  # (out, in, *kernel) → (out,)
    """Returns the length of each row, with no row of zeros to divide by."""
    norms: Tensor = torch.linalg.vector_norm(weight.flatten(1), dim=1)
    return norms.clamp(min=1e-12)
