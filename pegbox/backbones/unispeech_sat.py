"""UniSpeech-SAT (Chen et al., 2021, arXiv:2110.05752)."""

from typing import Final

from pegbox.backbones import _speech
from pegbox.backbones._family import Family

family: Final[Family] = _speech.family_of("unispeech_sat", "UniSpeechSatModel", "unispeech-sat")
