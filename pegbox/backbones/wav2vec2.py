"""wav2vec 2.0 (Baevski et al., 2020, arXiv:2006.11477)."""

from typing import Final

from pegbox.backbones import _speech
from pegbox.backbones._family import Family

family: Final[Family] = _speech.family_of("wav2vec2", "Wav2Vec2Model")
