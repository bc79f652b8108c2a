"""Attention with an edited memory: prefixes and other edits of the (key, value) pair.

Reached through `transformers`' registry of attention functions, its supported extension point, and
called directly by Pegbox's own WavLM attention.
"""

from collections.abc import Callable
from typing import Any, Final
from weakref import WeakKeyDictionary

import torch.nn.functional as F
from torch import Tensor, nn
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, AttentionMaskInterface
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS, AttentionInterface

from pegbox.errors import RecipeError

NAME: Final = "pegbox_memory"
_edits: Final[WeakKeyDictionary[nn.Module, list[nn.Module]]] = WeakKeyDictionary()


def edit_memory(attention: nn.Module, module: nn.Module) -> Callable[[], None]:
    """Makes (key, value) ← module(pair, pair) in one attention module; returns how to undo it."""
    config = getattr(attention, "config", None)  # WavLM's attention has none: Pegbox's own is called directly
    before = None if config is None else config._attn_implementation
    if before not in (None, NAME, "sdpa", "eager"):
        raise RecipeError(f"attention of kind '{before}' has no memory site; load the model with 'sdpa' or 'eager'")
    _edits.setdefault(attention, []).insert(0, module)  # as hooks go on: the last edit first
    if config is not None:
        config._attn_implementation = NAME

    def undo() -> None:
        _edits[attention].remove(module)
        if config is not None:
            config._attn_implementation = before

    return undo


def attend(
    attention: nn.Module,
    query: Tensor,  # (batch, heads, time, head width)
    key: Tensor,  # (batch, heads, time, head width)
    value: Tensor,  # (batch, heads, time, head width)
    mask: Tensor | None,  # broadcasts to (batch, heads, time, time): bool, or added
    scaling: float | None,
    dropout: float,
) -> Tensor:  # (batch, time, heads, head width)
    """Returns fused attention after the module's memory edits; added keys are open to every query."""
    time = key.shape[2]
    for module in _edits.get(attention, ()):
        key, value = module((key, value), (key, value))
    extra = key.shape[2] - time
    if mask is not None and extra:
        mask = F.pad(mask, (extra, 0), value=0.0 if mask.dtype.is_floating_point else 1.0)
    out = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout, scale=scaling)
    return out.transpose(1, 2)


def _interface(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **ignored: Any,  # the registry's signature: models pass settings of other kernels
) -> tuple[Tensor, None]:
    if not _edits.get(module):
        out, _ = ALL_ATTENTION_FUNCTIONS["sdpa"](
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **ignored
        )
        return out, None
    return attend(module, query, key, value, attention_mask, scaling, dropout).contiguous(), None


AttentionInterface.register(NAME, _interface)
AttentionMaskInterface.register(NAME, ALL_MASK_ATTENTION_FUNCTIONS["sdpa"])
