"""Attention with an edited memory: prefixes and other edits of the (key, value) pair.

Reached through `transformers`' registry of attention functions, its supported extension point, and
called directly where Pegbox has an attention of its own: WavLM's and those of synthesis networks.
"""

from collections.abc import Callable
from typing import Any, Final
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, AttentionMaskInterface
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS, AttentionInterface

from pegbox.errors import RecipeError
from pegbox.sites import Reframing

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


def memory_edited(attention: nn.Module) -> bool:
    """Returns whether an attention module carries an edit of its memory."""
    return bool(_edits.get(attention))


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
    key, value, mask = remembered(attention, key, value, mask)
    out = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout, scale=scaling)
    return out.transpose(1, 2)


def remembered(
    attention: nn.Module,
    key: Tensor,  # (batch, heads, time, head width)
    value: Tensor,  # (batch, heads, time, head width)
    mask: Tensor | None,  # (…, time): bool, or added
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Returns (key, value, mask) after the module's memory edits; keys are added in front, and open in the mask."""
    time = key.shape[2]
    for module in _edits.get(attention, ()):
        key, value = module((key, value), (key, value))
    extra = key.shape[2] - time
    if mask is not None and extra:
        mask = F.pad(mask, (extra, 0), value=0.0 if mask.dtype.is_floating_point else 1.0)
    return key, value, mask


def by_head(x: Tensor, heads: int) -> Tensor:  # (batch, time, width) → (batch, heads, time, head width)
    """Returns queries, keys or values apart by head."""
    return x.view(*x.shape[:2], heads, -1).transpose(1, 2)


def real_frames(mask: Tensor | None) -> Tensor | None:  # (batch, …, time) → (batch, time)
    """Returns which frames are real, from any mask that a block is given: bool, ones and zeros, or added scores."""
    if mask is None:
        return None
    flat = mask if mask.ndim == 2 else mask.flatten(1, -2)[:, -1]
    return flat > -1 if flat.dtype.is_floating_point and mask.ndim == 4 else flat.bool()


def reframed(name: str, value: Any, module: Reframing) -> Any:
    """Returns a block's argument for a module's inner frames: new ones are open in masks, zero in position biases."""
    if name == "position_bias":
        if not isinstance(value, Tensor):
            raise RecipeError(
                "other frames inside WavLM's blocks need Pegbox's own fold, which knows the position bias"
            )
        return module.along(module.along(value, -1, 0.0), -2, 0.0)
    if not name.endswith(("attention_mask", "padding_mask")) or not isinstance(value, Tensor):
        return value
    if name == "padding_mask":  # (batch, time, 1)
        return module.along(value, 1, 1.0)
    new = 0.0 if value.dtype.is_floating_point and value.ndim == 4 else 1.0
    if value.ndim < 4 or value.shape[-2] == 1:
        return module.along(value, -1, new)
    seen = module.along(value[..., -1:, :], -1, new)  # what the last frame sees, all do: the new ones see no padding
    return seen.expand(*value.shape[:-2], seen.shape[-1], -1)


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
    if not memory_edited(module):
        out, _ = ALL_ATTENTION_FUNCTIONS["sdpa"](
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **ignored
        )
        return out, None
    mask = _biased(ignored.get("position_bias"), attention_mask)
    return attend(module, query, key, value, mask, scaling, dropout).contiguous(), None


def _biased(bias: Tensor | None, mask: Tensor | None) -> Tensor | None:  # both broadcast to (batch, heads, time, time)
    """Returns what is added to the scores of networks that also hand over a bias by position."""
    if bias is None or mask is None:
        return mask if bias is None else bias
    return bias.masked_fill(~mask, float("-inf")) if mask.dtype == torch.bool else bias + mask


AttentionInterface.register(NAME, _interface)
AttentionMaskInterface.register(NAME, ALL_MASK_ATTENTION_FUNCTIONS["sdpa"])
