"""What Conformer encoders share: the parts of a block, and how attention knows the places of frames."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import torch
from torch import Tensor, nn

from pegbox.backbones import _ready
from pegbox.backbones._family import Entry, Memory, State, Undo, Where

ROLES: Final[Mapping[str, Where]] = MappingProxyType(
    {
        "enter": Entry(""),
        "q": "self_attn.linear_q",
        "k": "self_attn.linear_k",
        "v": "self_attn.linear_v",
        "o": "self_attn.linear_out",
        "memory": Memory("self_attn"),
        "attn": "self_attn",
        "norm1": "self_attn_layer_norm",
        "up": "ffn2.intermediate_dense",
        "down": "ffn2.output_dense",
        "ffn": "ffn2",
        "norm2": "ffn2_layer_norm",
        "leave": "",
    }
)


def carry(core: Any, time: int) -> Tensor | None:
    """Returns the table by which attention knows places: rotary (2, time, 1, 1, head width), relative, or none."""
    kind, table = core.config.position_embeddings_type, core.encoder.embed_positions
    if kind == "rotary":
        angles = torch.arange(time).to(table.inv_freq)[:, None] * table.inv_freq
        angles = torch.cat([angles, angles], dim=-1)[:, None, None]
        return torch.stack([angles.cos(), angles.sin()])
    if kind != "relative":  # none, or learned a block and clipped at a distance: the attention needs no table
        return None
    rows = table.pe if table.pe.shape[1] >= 2 * time - 1 else table.extend_pe(table.pe.new_zeros(1, time))
    middle = rows.shape[1] // 2
    return rows[:, middle - time + 1 : middle + time]  # type: ignore[no-any-return]  # (1, 2 time - 1, width)


def step(block: nn.Module, state: State) -> State:
    """Returns the state after one block."""
    places = None if state.carry is None else state.carry.to(state.x.dtype)
    x = block(
        state.x,
        attention_mask=state.attention_mask,
        relative_position_embeddings=places,
        conv_attention_mask=state.mask,
    )
    return State(x, state.mask, state.carry)


def places_for_prompts(core: Any) -> Undo:
    """Gives the attention a table as long as what it sees, prompts included; returns how to undo it."""

    def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        x, table = args[0] if args else kwargs["hidden_states"], kwargs.get("relative_position_embeddings")
        time = x.shape[1]
        rows = time if core.config.position_embeddings_type == "rotary" else 2 * time - 1
        if table is None or table.shape[1] == rows:
            return None
        longer = carry(core, time)
        return args, {**kwargs, "relative_position_embeddings": None if longer is None else longer.to(table)}

    return _ready.undo_all(
        block.self_attn.register_forward_pre_hook(hook, with_kwargs=True).remove for block in core.encoder.layers
    )
