"""SEW (Wu et al., 2021, arXiv:2109.06870): wav2vec 2.0 whose blocks work on squeezed frames, here two for one.

The hidden states are those of the blocks, all at the squeezed rate, as the library gives them and its own layer sum
reads them. The map behind the last block, which makes the front-end's rate of that one state again, is no part of
the fold. A frame without a partner at a clip's end is left out of the squeezing, as in a clip alone; in the library
it joins with padding where the clips of a batch differ.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from torch import Tensor, nn

from pegbox.backbones import _speech
from pegbox.backbones._family import Family, State, Where


def stem_roles(core: nn.Module) -> Mapping[str, Where]:
    """Returns the stem's sites; `frames` are those of the front-end, before the squeezing."""
    return _speech.stem_roles(core) | {"frames": "feature_dropout"}


def enter(core: Any, wave: Tensor, lengths: Tensor) -> State:  # (batch, samples), (batch,)
    """Returns the state after the front-end, the squeezing and the positional convolution, which squeezes too."""
    found, frames = _speech.features(core, wave, lengths)
    x = core.layer_norm(found)
    if core.project_features:
        x = core.feature_projection(x)
    x = core.feature_dropout(x)
    x = _speech.only_real(x, _speech.padding_mask(frames, x)).transpose(1, 2)  # (batch, width, time)
    squeezed = core.encoder.pool(x)
    x = squeezed + core.encoder.pos_conv_embed(x)[..., : squeezed.shape[-1]]
    x = core.encoder.dropout(core.encoder.layer_norm(x.transpose(1, 2)))
    return State(x, _speech.padding_mask(frames // core.config.squeeze_factor, x))


family: Final[Family] = replace(
    _speech.family_of("sew", "SEWModel"),
    stem_roles=stem_roles,
    convolve=None,  # its own frames are fewer than the front-end's
    enter=enter,
    frames=lambda config, samples: _speech.frames_of(config, samples) // config.squeeze_factor,
    hop=lambda config: _speech.hop(config) * config.squeeze_factor,
    shortest=lambda config: _speech.receptive_field(config, config.squeeze_factor),
    projection="",  # a norm and, in some networks, a map: no module of the core is both
    unused=("masked_spec_embed", "encoder.upsample.*"),
    padding=_speech.PADDING + "; a frame without a partner at a clip's end is left out",
)
