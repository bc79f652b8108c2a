"""HuBERT (Hsu et al., 2021, arXiv:2106.07447)."""

from typing import Final

from pegbox.backbones import _speech
from pegbox.backbones._family import Family

family: Final[Family] = _speech.family_of("hubert", "HubertModel")
