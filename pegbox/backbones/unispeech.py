"""UniSpeech (Wang et al., 2021, arXiv:2101.07597)."""

from typing import Final

from pegbox.backbones import _speech
from pegbox.backbones._family import Family

family: Final[Family] = _speech.family_of("unispeech", "UniSpeechModel")
