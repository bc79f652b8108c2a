"""VITS (Kim et al., 2021, arXiv:2106.06103), as in the MMS voices: text in, waveform out.

Sites lie in the blocks of the text encoder. The flow, the duration predictor and the vocoder have neither attention
nor an FFN, so that no name of a site means anything there.
"""

from types import MappingProxyType
from typing import Any, Final

from pegbox.backbones import _ready
from pegbox.backbones._family import Stack, Undo, Weights
from pegbox.backbones._synthesis import Synthesis


def ready(core: Any) -> Undo:
    """Stops LayerDrop in the text encoder."""
    return _ready.no_layerdrop(core.text_encoder.encoder)


family: Final = Synthesis(
    name="vits",
    model_types=("vits",),
    network="VitsModel",
    stacks=(
        Stack(
            "encoder",
            "text_encoder.encoder.layers",
            MappingProxyType(
                {
                    "q": "attention.q_proj",
                    "k": "attention.k_proj",
                    "v": "attention.v_proj",
                    "o": "attention.out_proj",
                    "attn": "attention",
                    "norm1": "layer_norm",
                    "up": Weights("feed_forward.conv_1"),
                    "down": Weights("feed_forward.conv_2"),
                    "ffn": "feed_forward",
                    "norm2": "final_layer_norm",
                    "leave": "",
                }
            ),
        ),
    ),
    norms_first=lambda config: False,
    ready=ready,
)
