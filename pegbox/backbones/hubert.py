"""HuBERT (Hsu et al., 2021, arXiv:2106.07447)."""

from typing import Final

from pegbox.backbones import _speech
from pegbox.backbones._family import Family

family: Final = Family(
    name="hubert",
    model_types=("hubert",),
    network="HubertModel",
    inside="",
    cores=("HubertModel",),
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
