"""wav2vec 2.0 (Baevski et al., 2020, arXiv:2006.11477)."""

from typing import Final

from pegbox.backbones import _speech
from pegbox.backbones._family import Family

family: Final = Family(
    name="wav2vec2",
    model_types=("wav2vec2",),
    network="Wav2Vec2Model",
    inside="",
    cores=("Wav2Vec2Model",),
    blocks="encoder.layers",
    roles=_speech.ROLES,
    stem_roles=_speech.stem_roles,
    front=_speech.Normalise,
    enter=_speech.enter,
    carry=_speech.no_carry,
    step=_speech.step,
    norm=_speech.norm,
    frames=_speech.frames_of,
    hop=_speech.hop,
    shortest=_speech.receptive_field,
    longest=_speech.unlimited,
    ready=_speech.ready,
    unused=("masked_spec_embed",),
    padding=_speech.PADDING,
)
