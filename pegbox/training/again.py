"""Gradient checkpointing (Chen et al., 2016, arXiv:1604.06174): a block keeps what enters it, not what it computes.

Backward computes the block again, with the same random draws. What is below the lowest edit keeps nothing anyway.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from pegbox.backbones import Backbone, State
from pegbox.delta import Delta


def step(backbone: Backbone, delta: Delta) -> Callable[[int, State], State]:
    """Returns a way through one block, for `Backbone.fold`, that keeps no activations where gradients flow."""
    lowest = backbone.depth if delta.lowest is None else delta.lowest
    norms = [module for module in delta.modules() if isinstance(module, _BatchNorm)]

    def through(index: int, state: State) -> State:
        if index < lowest or not torch.is_grad_enabled():
            return backbone.step(index, state)
        found: State = checkpoint(  # the frames are its argument: their device is the one whose draws are repeated
            lambda x: backbone.step(index, replace(state, x=x)),
            state.x,
            use_reentrant=False,
            context_fn=lambda: (nullcontext(), _aside(norms)),
        )
        return found

    return through


@contextmanager
def _aside(norms: Sequence[nn.Module]) -> Iterator[None]:
    """Within it batch norms count into copies of their running statistics, which have seen this batch already."""
    own = [(norm, name, tensor) for norm in norms for name, tensor in norm.named_buffers(recurse=False)]
    for norm, name, tensor in own:
        setattr(norm, name, tensor.clone())
    try:
        yield
    finally:
        for norm, name, tensor in own:
            setattr(norm, name, tensor)
