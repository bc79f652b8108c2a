"""data2vec for audio (Baevski et al., 2022, arXiv:2202.03555), with a stack of positional convolutions.

The stack sees further than a clip's end: the library lets what the first convolution makes of the padding flow
back into real frames. Here each layer's padded frames are zero, as they are beyond the end of a clip alone.
"""

from dataclasses import replace
from typing import Any, Final

from torch import Tensor

from pegbox.backbones import _speech
from pegbox.backbones._family import Family, State


def positions(core: Any, x: Tensor, mask: Tensor | None) -> Tensor:  # (batch, time, width), (batch, time)
    """Returns what the stack of convolutions makes of the frames."""
    for layer in core.encoder.pos_conv_embed.layers:
        x = _speech.only_real(layer(x.transpose(1, 2)).transpose(1, 2), mask)
    return x


def enter(core: Any, found: Tensor, frames: Tensor) -> State:  # (batch, time, conv width), (batch,)
    """Returns the state after the front-end's projection and the positions."""
    x, mask = _speech.projected(core, found, frames)
    x = core.encoder.layer_norm(x + positions(core, x, mask))
    return State(core.encoder.dropout(x), mask)


family: Final[Family] = replace(
    _speech.family_of("data2vec", "Data2VecAudioModel", "data2vec-audio"),
    enter=enter,
    padding="exact: padded frames are masked, and kept at zero between the positional convolutions",
)
