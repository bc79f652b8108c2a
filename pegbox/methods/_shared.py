"""Modules that look at all rows of a batch, where several processes share it: batch norm, and a sum over all."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed import ReduceOp, all_reduce


class Shared(nn.Module):
    """A module that wants to know what all processes hold. Who shares a batch tells it so for each pass."""

    shared = False  # whether other processes pass here with this one now, forward and backward
    counts = True  # whether its rows belong to the batch; a process without clips of its own passes with others'
    waits = True  # whether it asks the others at all

    def total(self, own: Tensor) -> Tensor:
        """Returns the sum over the processes, through which gradients flow."""
        if not self.shared:
            return own
        total: Tensor = Sum.apply(own * float(self.counts))  # type: ignore[no-untyped-call]
        return total


class BatchNorm(nn.BatchNorm1d, Shared):
    """Normalises over all rows of a batch, also those that other processes hold.

    Torch's own for several processes works on GPUs alone.
    """

    def forward(self, x: Tensor) -> Tensor:  # (rows, channels) → (rows, channels)
        """Returns the rows normalised, and lets the running statistics follow those of the batch."""
        if not (self.training and self.shared):
            return super().forward(x)
        told = self.total(torch.cat([x.new_full((1,), len(x)), x.sum(0)]))
        rows, mean = told[:1], told[1:] / told[:1]
        squares = self.total((x - mean).square().sum(0))
        variance = squares / rows
        self._follow(mean.detach(), (squares / (rows - 1).clamp(min=1)).detach())
        return (x - mean) * (variance + self.eps).rsqrt() * self.weight + self.bias

    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        assert self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance, share)


class Sum(torch.autograd.Function):
    """The sum over all processes; so is its gradient, since what each makes of the sum counts for all."""

    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:
        """Returns the sum, the same bits in each process."""
        return _summed(own)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """Returns the sum of the gradients."""
        return _summed(gradient)


def _summed(own: Tensor) -> Tensor:
    total = own.clone(memory_format=torch.contiguous_format)
    all_reduce(total, ReduceOp.SUM)
    return total
