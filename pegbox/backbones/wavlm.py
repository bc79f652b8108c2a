"""WavLM (Chen et al., 2022, arXiv:2110.13900), with an attention whose q, k, v and o really are called.

The library's attention reads `q_proj.weight` and never calls the module, so that an edit there would do
nothing, silently. This one computes the same numbers by calling the modules, with the fused kernel, and
hands the position bias along once a layer stack instead of once a clip.
"""

from dataclasses import replace
from typing import Any, Final

import torch
from torch import Tensor, nn

from pegbox.attention import attend
from pegbox.backbones import _ready, _speech
from pegbox.backbones._family import Family, State, Undo


def attention(
    module: Any,
    hidden_states: Tensor,  # (batch, time, width)
    attention_mask: Tensor | None = None,  # (batch, time), 1 on real frames
    position_bias: Tensor | None = None,  # (1, heads, time, time)
    index: int = 0,
    **ignored: Any,  # the library's signature
) -> tuple[Tensor, None, Tensor]:
    """Returns (output, None, position bias): gated relative attention, as `WavLMAttention.forward` does."""
    batch, time, width = hidden_states.shape
    if position_bias is None:
        position_bias = module.compute_bias(time, time)[None]
    by_head = hidden_states.view(batch, time, module.num_heads, -1).transpose(1, 2)  # (batch, heads, time, head width)
    gate = torch.sigmoid(module.gru_rel_pos_linear(by_head).unflatten(-1, (2, 4)).sum(-1))  # (batch, heads, time, 2)
    gate_a, gate_b = gate.chunk(2, dim=-1)
    bias = (gate_a * (gate_b * module.gru_rel_pos_const - 1.0) + 2.0) * position_bias  # (batch, heads, time, time)
    if attention_mask is not None:
        bias = bias.masked_fill(~attention_mask.bool()[:, None, None, :], float("-inf"))

    def heads(projection: nn.Module) -> Tensor:
        split: Tensor = projection(hidden_states).view(batch, time, module.num_heads, -1)
        return split.transpose(1, 2)

    query, key, value = heads(module.q_proj), heads(module.k_proj), heads(module.v_proj)
    dropout = module.dropout if module.training else 0.0
    mixed = attend(module, query, key, value, bias.to(query.dtype), module.scaling, dropout)
    return module.out_proj(mixed.reshape(batch, time, width)), None, position_bias


def ready(core: Any) -> Undo:
    """Puts the attention above into every block beside what its kin need; returns how to undo both."""
    modules = [block.attention for block in core.encoder.layers]
    return _ready.undo_all([_speech.ready(core), _ready.instead(modules, attention)])


def carry(core: Any, time: int) -> Tensor:
    """Returns the position bias (1, heads, time, time), which the first block owns."""
    return core.encoder.layers[0].attention.compute_bias(time, time)[None]  # type: ignore[no-any-return]


def enter(core: Any, found: Tensor, frames: Tensor) -> State:  # (batch, time, conv width), (batch,)
    """Returns the first state, with the position bias that every block shares."""
    state = _speech.enter(core, found, frames)
    return State(state.x, state.mask, carry(core, state.x.shape[1]))


def step(block: nn.Module, state: State) -> State:
    """Returns the state after one block."""
    x, bias = block(state.x, attention_mask=state.mask, position_bias=state.carry)
    return State(x, state.mask, bias)


family: Final[Family] = replace(
    _speech.family_of("wavlm", "WavLMModel"), enter=enter, carry=carry, step=step, ready=ready
)
