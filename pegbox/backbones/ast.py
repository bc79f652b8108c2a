"""AST, the audio spectrogram transformer (Gong et al., 2021, arXiv:2104.01778): 16×16 patches of a filterbank."""

from types import MappingProxyType
from typing import Any, Final

import torch.nn.functional as F
from torch import Tensor, nn

from pegbox.backbones import _kaldi, _speech
from pegbox.backbones._family import Entry, Family, Front, Memory, State


class Filterbank(nn.Module):
    """The Kaldi-like filterbank of `ASTFeatureExtractor`, padded with zeros to the network's length."""

    def __init__(self, front: Front, config: Any) -> None:
        super().__init__()
        self.bank = _kaldi.Filterbank(config.num_mel_bins, front.rate)
        self.length = int(config.max_length)
        self.mean = float(front.settings.get("mean", -4.2677393))
        self.deviation = float(front.settings.get("std", 4.5689974))
        self.active = bool(front.settings.get("do_normalize", True))

    def forward(
        self, wave: Tensor, lengths: Tensor, hidden: Tensor | None = None
    ) -> Tensor:  # (batch, samples), (batch,), (batch, 4) → (batch, frames, mel)
        """Returns `max_length` frames a clip, 0 before the normalisation beyond its end and in what is hidden."""
        bank = self.bank(wave)
        bank = bank * _kaldi.real_windows(lengths, bank)[1]
        bank = F.pad(bank, (0, 0, 0, self.length - bank.shape[1]))[:, : self.length]
        bank = bank if hidden is None else _kaldi.silenced(bank, hidden)
        return (bank - self.mean) / (self.deviation * 2) if self.active else bank


def tokens(config: Any, samples: int) -> int:
    """Returns the length of the sequence: two tokens and the patches of the full table, whatever the clip."""
    across = (config.num_mel_bins - config.patch_size) // config.frequency_stride + 1
    along = (config.max_length - config.patch_size) // config.time_stride + 1
    return int(across * along + 2)


def enter(core: Any, bank: Tensor, lengths: Tensor) -> State:  # (batch, frames, mel), (batch,)
    """Returns the class token, the distillation token and the patches, with positions."""
    return State(core.embeddings(bank))


def norm(core: Any, x: Tensor) -> Tensor:  # (batch, time, width)
    """Returns the final layer norm."""
    return core.layernorm(x)  # type: ignore[no-any-return]


family: Final = Family(
    name="ast",
    model_types=("audio-spectrogram-transformer",),
    network="ASTModel",
    inside="",
    cores=("ASTModel",),
    blocks="layers",
    roles=MappingProxyType(
        {
            "enter": Entry(""),
            "q": "attention.q_proj",
            "k": "attention.k_proj",
            "v": "attention.v_proj",
            "o": "attention.o_proj",
            "memory": Memory("attention"),
            "attn": "attention",
            "norm1": "layernorm_before",
            "up": "mlp.fc1",
            "down": "mlp.fc2",
            "ffn": "mlp",
            "norm2": "layernorm_after",
            "leave": "",
        }
    ),
    stem_roles=lambda core: {"conv.0": "embeddings.patch_embeddings.projection", "frames": Entry("layers.0")},
    front=Filterbank,
    enter=enter,
    step=_speech.step,
    norm=norm,
    frames=tokens,
    hop=lambda config: None,
    shortest=lambda config: _kaldi.WINDOW,
    longest=lambda config: _kaldi.WINDOW + _kaldi.HOP * config.max_length - 1,
    norms_first=lambda config: True,
    spectrogram=lambda config: (config.max_length, config.num_mel_bins),
    windows=_kaldi.windows,
    front_is_wave=False,
    padding="exact: every clip is padded with silence to the network's own length, as in pretraining",
)
