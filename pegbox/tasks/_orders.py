"""Losses that do not mind in which order speakers are named (permutation-invariant training, arXiv:1607.00325)."""

from itertools import permutations

import torch
from torch import Tensor
from torch.nn import functional as F


def entropy(logits: Tensor, truth: Tensor) -> Tensor:  # both (time, speakers)
    """Returns the binary cross-entropy, a mean over speakers and a sum over frames."""
    return F.binary_cross_entropy_with_logits(logits, truth, reduction="sum") / truth.shape[1]


def best(logits: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:  # both (time, speakers)
    """Returns the truth with its speakers in the order that fits best, and the entropy of it."""
    ordered = [truth[:, list(order)] for order in permutations(range(truth.shape[1]))]
    losses = torch.stack([entropy(logits, each) for each in ordered])
    return ordered[int(losses.argmin())], losses.min()
