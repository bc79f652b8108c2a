"""VITS (Kim et al., 2021, arXiv:2106.06103), as in the MMS voices: text in, waveform out.

The blocks of the text encoder have all sites. Those of the flow, which have neither attention nor an FFN, have `up`
and `down`: the convolutions to and from the inner width. Duration predictor and vocoder have none.
"""

from typing import Any, Final

from torch import Tensor
from torch.nn import functional as F

from pegbox.attention import by_head, memory_edited, remembered
from pegbox.backbones import _ready, _speech
from pegbox.backbones._family import Stack, Undo, Weights
from pegbox.backbones._synthesis import Synthesis, like


def attention(
    module: Any,
    hidden_states: Tensor,  # (batch, time, width)
    key_value_states: Tensor | None = None,
    attention_mask: Tensor | None = None,  # (batch, 1, time, time), added
    output_attentions: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Returns (output, weights): as the library where the memory has no edit, else the same numbers without weights.

    What an edit adds in front of the keys has no place, so that the embeddings of near places do not see it.
    """
    if not memory_edited(module):
        return type(module).forward(  # type: ignore[no-any-return]
            module, hidden_states, key_value_states, attention_mask, output_attentions
        )
    parts = (module.q_proj, module.k_proj, module.v_proj)
    query, key, value = (by_head(part(hidden_states), module.num_heads) for part in parts)
    key, value, mask = remembered(module, key, value, attention_mask)
    query, added = query * module.scaling, key.shape[2] - query.shape[2]
    scores = query @ key.transpose(-1, -2)  # (batch, heads, time, added + time)
    if module.window_size is not None:
        scores = scores + F.pad(_near_keys(module, query), (added, 0))
    weights = (scores if mask is None else scores + mask).softmax(-1)
    weights = F.dropout(weights, module.dropout, module.training)
    mixed = weights @ value
    if module.window_size is not None:
        mixed = mixed + _near_values(module, weights[..., added:])
    return module.out_proj(mixed.transpose(1, 2).flatten(2)), None


def _near_keys(module: Any, query: Tensor) -> Tensor:  # (batch, heads, time, head width) → (batch, heads, time, time)
    time = query.shape[2]
    near = module._get_relative_embeddings(module.emb_rel_k, time)  # (1, 2 time - 1, head width)
    scores = module._relative_position_to_absolute_position(query.flatten(0, 1) @ near.transpose(-1, -2))
    return scores.view(*query.shape[:3], time)  # type: ignore[no-any-return]


def _near_values(module: Any, weights: Tensor) -> Tensor:  # (batch, heads, time, time) → (batch, heads, time, width)
    near = module._get_relative_embeddings(module.emb_rel_v, weights.shape[2])
    mixed = module._absolute_position_to_relative_position(weights.flatten(0, 1)) @ near
    return mixed.view(*weights.shape[:3], -1)  # type: ignore[no-any-return]


def ready(core: Any) -> Undo:
    """Puts the attention above into every block of the text encoder, and stops LayerDrop there."""
    encoder = core.text_encoder.encoder
    modules = [block.attention for block in encoder.layers]
    return _ready.undo_all([_ready.no_layerdrop(encoder), _ready.instead(modules, attention)])


_CONVOLUTIONS: Final = {"up": Weights("feed_forward.conv_1"), "down": Weights("feed_forward.conv_2")}
_FLOW: Final = {"up": Weights("conv_pre"), "down": Weights("conv_post")}

family: Final = Synthesis(
    name="vits",
    network="VitsModel",
    checkpoints={"vits": "VitsModel"},
    stacks=(
        Stack("encoder", "text_encoder.encoder.layers", like(_speech.ROLES, _CONVOLUTIONS)),
        Stack("flow", "flow.flows", _FLOW),
    ),
    norms_first=lambda config: False,
    ready=ready,
)
