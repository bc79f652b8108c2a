"""SpeechT5 (Ao et al., 2021, arXiv:2110.07205) as it makes speech of text, Mel frame after Mel frame.

The attention to the text inside the decoder's blocks has no sites.
"""

from collections.abc import Mapping
from typing import Any, Final

from torch import Tensor
from transformers import EncoderDecoderCache

from pegbox.attention import attend, by_head, memory_edited
from pegbox.backbones import _ready, _speech
from pegbox.backbones._family import Memory, Stack, Undo, Where
from pegbox.backbones._synthesis import Synthesis, like


def attention(
    module: Any,
    hidden_states: Tensor,  # (batch, time, width)
    key_value_states: Tensor | None = None,
    past_key_values: Any = None,
    attention_mask: Tensor | None = None,  # (batch, 1, time, past and present time), added
    position_bias: Tensor | None = None,  # (time, time, head width), in the encoder
    output_attentions: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Returns (output, weights): as the library where the memory has no edit, else the same numbers without weights.

    Edits see all keys spoken so far: a prefix stays in front of them, and never enters the library's cache.
    """
    if not memory_edited(module):
        return type(module).forward(  # type: ignore[no-any-return]
            module, hidden_states, key_value_states, past_key_values, attention_mask, position_bias, output_attentions
        )
    parts = (module.q_proj, module.k_proj, module.v_proj)
    query, key, value = (by_head(part(hidden_states), module.num_heads) for part in parts)
    if past_key_values is not None:
        both = isinstance(past_key_values, EncoderDecoderCache)
        spoken = past_key_values.self_attention_cache if both else past_key_values
        key, value = spoken.update(key, value, module.layer_idx)
    mask = attention_mask
    if position_bias is not None:
        places = ((query * module.scaling)[..., None, :] @ position_bias.transpose(-1, -2)).squeeze(-2)
        mask = places if mask is None else places + mask
    dropout = module.dropout if module.training else 0.0
    mixed = attend(module, query, key, value, mask, module.scaling, dropout)
    return module.out_proj(mixed.flatten(2)), None


def ready(core: Any) -> Undo:
    """Puts the attention above into every block, stops LayerDrop, holds the batch norms behind the decoder still."""
    encoder, decoder = core.speecht5.encoder.wrapped_encoder, core.speecht5.decoder.wrapped_decoder
    modules = [*(block.attention for block in encoder.layers), *(block.self_attn for block in decoder.layers)]
    stacks = map(_ready.no_layerdrop, (encoder, decoder))
    return _ready.undo_all([*stacks, _ready.instead(modules, attention), _ready.still(core)])


_LINEAR: Final = (("q", "q_proj"), ("k", "k_proj"), ("v", "v_proj"), ("o", "out_proj"))
_SPEAKING: Final[Mapping[str, Where]] = {
    **{role: f"self_attn.{name}" for role, name in _LINEAR},
    "memory": Memory("self_attn"),
    "attn": "self_attn",
    "norm1": "self_attn_layer_norm",
}

family: Final = Synthesis(
    name="speecht5",
    network="SpeechT5ForTextToSpeech",
    checkpoints={"speecht5": "SpeechT5ForTextToSpeech"},
    stacks=(
        Stack("encoder", "speecht5.encoder.wrapped_encoder.layers", like(_speech.ROLES, {})),
        Stack("decoder", "speecht5.decoder.wrapped_decoder.layers", like(_speech.ROLES, _SPEAKING), causal=True),
    ),
    norms_first=lambda config: False,
    ready=ready,
)
