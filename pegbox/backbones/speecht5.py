"""SpeechT5 (Ao et al., 2021, arXiv:2110.07205) as it makes speech of text, Mel frame after Mel frame.

The attention to the text inside the decoder's blocks has no sites.
"""

from types import MappingProxyType
from typing import Any, Final

from pegbox.backbones import _ready
from pegbox.backbones._family import Stack, Undo, Where
from pegbox.backbones._synthesis import Synthesis


def _roles(attention: str, norm: str) -> MappingProxyType[str, Where]:
    return MappingProxyType(
        {
            "q": f"{attention}.q_proj",
            "k": f"{attention}.k_proj",
            "v": f"{attention}.v_proj",
            "o": f"{attention}.out_proj",
            "attn": attention,
            "norm1": norm,
            "up": "feed_forward.intermediate_dense",
            "down": "feed_forward.output_dense",
            "ffn": "feed_forward",
            "norm2": "final_layer_norm",
            "leave": "",
        }
    )


def ready(core: Any) -> Undo:
    """Stops LayerDrop in both stacks and holds the batch norms behind the decoder still."""
    stacks = (core.speecht5.encoder.wrapped_encoder, core.speecht5.decoder.wrapped_decoder)
    return _ready.undo_all([*map(_ready.no_layerdrop, stacks), _ready.still(core)])


family: Final = Synthesis(
    name="speecht5",
    model_types=("speecht5",),
    network="SpeechT5ForTextToSpeech",
    stacks=(
        Stack("encoder", "speecht5.encoder.wrapped_encoder.layers", _roles("attention", "layer_norm")),
        Stack(
            "decoder",
            "speecht5.decoder.wrapped_decoder.layers",
            _roles("self_attn", "self_attn_layer_norm"),
            causal=True,
        ),
    ),
    norms_first=lambda config: False,
    ready=ready,
)
