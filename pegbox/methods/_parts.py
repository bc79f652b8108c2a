"""Pieces that several methods share. Trained numbers are fp32 and act in the precision of what they meet."""

from torch import Tensor, nn
from torch.nn import functional as F


class Affine(nn.Linear):
    """A linear map kept in fp32 that computes in its input's precision."""

    def forward(self, x: Tensor) -> Tensor:  # (batch, time, in) → (batch, time, out)
        """Returns the map of x, in x's precision."""
        return F.linear(x, self.weight.to(x.dtype), None if self.bias is None else self.bias.to(x.dtype))


class Shift(nn.Module):
    """A trained difference to one of the network's own tensors, zero at the start."""

    def __init__(self, like: Tensor) -> None:
        super().__init__()
        self.difference = nn.Parameter(like.new_zeros(like.shape).float())

    def forward(self, tensor: Tensor) -> Tensor:  # (out,) or (out, in)
        """Returns the tensor with the difference added."""
        return tensor + self.difference.to(tensor.dtype)
