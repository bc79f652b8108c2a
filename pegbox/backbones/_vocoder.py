"""HiFi-GAN (Kong et al., 2020, arXiv:2010.05646): a learnt network that makes sound of Mel frames, by transformers."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, Final

import transformers
from torch import nn

from pegbox.backbones import _load
from pegbox.backbones._family import Front
from pegbox.backbones._fold import digest
from pegbox.errors import WeightsError

_NETWORKS: Final[Mapping[str, str]] = {
    "fastspeech2_conformer_hifigan": "FastSpeech2ConformerHifiGan",
    "fastspeech2_conformer_with_hifigan": "FastSpeech2ConformerWithHifiGan",
    "speecht5_hifigan": "SpeechT5HifiGan",
    "hifigan": "SpeechT5HifiGan",  # as its first checkpoints say
}


@dataclass(frozen=True)
class Vocoder:
    """What a vocoder reads and makes. `rate` is None where its checkpoint does not say it."""

    bands: int
    hop: int  # samples a frame
    rate: int | None


def outline_vocoder(source: str) -> Vocoder:
    """Returns what a vocoder reads and makes; reads no weights.

    Raises:
        WeightsError: when there is no such checkpoint, or it is no HiFi-GAN.
    """
    config = _config(source)
    own = config.vocoder_config if config.model_type.endswith("with_hifigan") else config
    rate = own.to_dict().get("sampling_rate")
    return Vocoder(own.model_in_dim, prod(own.upsample_rates), None if rate is None else int(rate))


def load_vocoder(source: str) -> nn.Module:
    """Returns a frozen vocoder of a hub id or a local folder: (time, bands) → (samples,).

    Of a checkpoint that holds a synthesis network and its vocoder it is the vocoder.

    Raises:
        WeightsError: when there is no such checkpoint, it is no HiFi-GAN, or lacks tensors.
    """
    with _load.quiet():
        config = _config(source)
        model, absent = _load.from_pretrained(source, config, _NETWORKS[config.model_type])
    inside = "vocoder." if config.model_type.endswith("with_hifigan") else ""
    missing = [name for name in absent if name.startswith(inside)]
    if missing:
        raise WeightsError(f"{source}: {len(missing)} tensors of the vocoder are not in the checkpoint: {missing[:4]}")
    vocoder: nn.Module = model.get_submodule(inside.rstrip("."))
    return vocoder.eval().requires_grad_(False)


def vocoder_digest(vocoder: nn.Module) -> str:
    """Returns the identity of a vocoder's weights and of what else makes its sound."""
    told: Any = vocoder.config
    names = ("upsample_rates", "resblock_dilation_sizes", "leaky_relu_slope", "normalize_before")
    return digest(vocoder, Front(0, {name: getattr(told, name) for name in names}))


def _config(source: str) -> Any:
    try:
        told = transformers.PreTrainedConfig.get_config_dict(source)[0]
    except (OSError, ValueError) as problem:
        raise WeightsError(f"{source}: no vocoder can be read here: {_load.first_line(problem)}") from problem
    if not told:
        raise WeightsError(f"{source}: no vocoder can be read here: it has no config.json")
    kind = told.get("model_type", "")
    if kind not in _NETWORKS:
        raise WeightsError(f"{source}: a network of type '{kind}' is no vocoder; known: {', '.join(_NETWORKS)}")
    return getattr(transformers, _NETWORKS[kind]).config_class.from_pretrained(source)
