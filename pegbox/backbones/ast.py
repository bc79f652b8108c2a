"""AST, the audio spectrogram transformer (Gong et al., 2021, arXiv:2104.01778): 16×16 patches of a filterbank."""

import warnings
from types import MappingProxyType
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.audio_utils import mel_filter_bank

from pegbox.backbones import _speech
from pegbox.backbones._family import Entry, Family, Front, Memory, State, always_real

_WINDOW: Final = 400
_HOP: Final = 160
_BINS: Final = 512


class Filterbank(nn.Module):
    """The Kaldi-like filterbank of `ASTFeatureExtractor`, padded with zeros to the network's length."""

    def __init__(self, front: Front, config: Any) -> None:
        super().__init__()
        with warnings.catch_warnings():  # the lowest of 128 filters is empty, as it was in pretraining
            warnings.simplefilter("ignore", UserWarning)
            filters = mel_filter_bank(
                num_frequency_bins=_BINS // 2 + 1,
                num_mel_filters=config.num_mel_bins,
                min_frequency=20,
                max_frequency=front.rate // 2,
                sampling_rate=front.rate,
                norm=None,
                mel_scale="kaldi",
                triangularize_in_mel_space=True,
            )
        self.length = int(config.max_length)
        self.mean = float(front.settings.get("mean", -4.2677393))
        self.deviation = float(front.settings.get("std", 4.5689974))
        self.active = bool(front.settings.get("do_normalize", True))
        self.register_buffer("filters", torch.tensor(filters, dtype=torch.float32), persistent=False)
        self.register_buffer("window", torch.hann_window(_WINDOW, periodic=False), persistent=False)

    def forward(self, wave: Tensor, lengths: Tensor) -> Tensor:  # (batch, samples), (batch,) → (batch, frames, mel)
        """Returns `max_length` frames a clip, those beyond its end zero before the normalisation."""
        filters, window = self.get_buffer("filters"), self.get_buffer("window")
        pieces = wave.unfold(1, _WINDOW, _HOP)  # (batch, frames, window)
        pieces = pieces - pieces.mean(-1, keepdim=True)
        before = torch.cat([pieces[..., :1], pieces[..., :-1]], dim=-1)
        spectrum = torch.fft.rfft((pieces - 0.97 * before) * window, _BINS)
        bank = (spectrum.abs().square() @ filters).clamp(min=1.192092955078125e-07).log()
        frames = torch.tensor([fbank_frames(n) for n in lengths.tolist()], device=wave.device)
        bank = bank * (torch.arange(bank.shape[1], device=wave.device) < frames[:, None])[..., None]
        bank = F.pad(bank, (0, 0, 0, self.length - bank.shape[1]))[:, : self.length]
        return (bank - self.mean) / (self.deviation * 2) if self.active else bank


def fbank_frames(samples: int) -> int:
    """Returns whole windows in a clip."""
    return (samples - _WINDOW) // _HOP + 1


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
    carry=_speech.no_carry,
    step=_speech.step,
    norm=norm,
    frames=tokens,
    hop=lambda config: None,
    shortest=lambda config: _WINDOW,
    longest=lambda config: _WINDOW + _HOP * (config.max_length - 1) + _HOP - 1,
    ready=always_real,
    front_is_wave=False,
    padding="exact: every clip is padded with silence to the network's own length, as in pretraining",
)
