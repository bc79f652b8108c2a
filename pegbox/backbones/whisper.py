"""Whisper's encoder (Radford, 2022, arXiv:2212.04356), log-Mel included, its positional table cut to the clip."""

from types import MappingProxyType
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.audio_utils import mel_filter_bank

from pegbox.backbones import _ready, _speech
from pegbox.backbones._family import Entry, Family, Front, Memory, Span, State

_WINDOW: Final = 400
_HOP: Final = 160


class LogMel(nn.Module):
    """The log-Mel spectrogram of `WhisperFeatureExtractor`, of the clip alone instead of 30 s."""

    def __init__(self, front: Front, config: Any) -> None:
        super().__init__()
        filters = mel_filter_bank(
            num_frequency_bins=_WINDOW // 2 + 1,
            num_mel_filters=config.num_mel_bins,
            min_frequency=0.0,
            max_frequency=8000.0,
            sampling_rate=front.rate,
            norm="slaney",
            mel_scale="slaney",
        )
        self.full = 2 * _HOP * config.max_source_positions
        self.register_buffer("filters", torch.tensor(filters, dtype=torch.float32), persistent=False)
        self.register_buffer("window", torch.hann_window(_WINDOW), persistent=False)

    def forward(self, wave: Tensor, lengths: Tensor) -> Tensor:  # (batch, samples), (batch,) → (batch, mel, frames)
        """Returns normalised log-Mel frames, zero beyond each clip's own."""
        filters, window = self.get_buffer("filters"), self.get_buffer("window")
        longest = int(lengths.max())
        samples = torch.arange(wave.shape[1], device=wave.device)
        wave = (wave * (samples < lengths.to(wave.device)[:, None]))[:, :longest]
        wave = F.pad(wave, (0, min(2 * _WINDOW, max(0, self.full - longest))))  # silence, as the extractor pads
        spectrum = torch.stft(wave, _WINDOW, _HOP, window=window, return_complex=True)[..., :-1]
        log = (filters.T @ spectrum.abs().square()).clamp(min=1e-10).log10()
        frames = torch.tensor([mel_frames(n) for n in lengths.tolist()], device=wave.device)[:, None, None]
        times = torch.arange(log.shape[-1], device=wave.device)
        # A window of up to 200 samples beyond the clip may hold its loudest frame: the maximum counts it.
        loudest = log.masked_fill(times >= frames + 2, -10.0).amax(dim=(1, 2), keepdim=True)
        scaled = (torch.maximum(log, loudest - 8.0) + 4.0) / 4.0
        return (scaled * (times < frames))[..., : int(frames.max())]


def mel_frames(samples: int) -> int:
    """Returns Mel frames of a clip, the last one whole."""
    return -(-samples // _HOP)


def enter(core: Any, mel: Tensor, lengths: Tensor) -> State:  # (batch, mel, frames), (batch,)
    """Returns the state after the two convolutions and the positions; frames of silence beyond a clip stay out."""
    counts = torch.tensor([mel_frames(n) for n in lengths.tolist()], device=mel.device)
    x = F.gelu(core.conv1(mel))
    x = x * (torch.arange(x.shape[-1], device=x.device) < counts[:, None])[:, None]
    x = F.gelu(core.conv2(x)).transpose(1, 2)  # (batch, time, width)
    return State(x + core.embed_positions.weight[: x.shape[1]], _speech.padding_mask((counts + 1) // 2, x))


def norm(core: Any, x: Tensor) -> Tensor:  # (batch, time, width)
    """Returns the final layer norm."""
    return core.layer_norm(x)  # type: ignore[no-any-return]


family: Final = Family(
    name="whisper",
    model_types=("whisper",),
    network="WhisperForAudioClassification",
    inside="encoder",
    cores=("WhisperEncoder",),
    blocks="layers",
    roles=MappingProxyType(
        {
            "enter": Entry(""),
            "q": "self_attn.q_proj",
            "k": "self_attn.k_proj",
            "v": "self_attn.v_proj",
            "o": "self_attn.out_proj",
            "memory": Memory("self_attn"),
            "attn": "self_attn",
            "norm1": "self_attn_layer_norm",
            "up": "fc1",
            "down": "fc2",
            "ffn": Span("fc1", "fc2"),
            "norm2": "final_layer_norm",
            "leave": "",
        }
    ),
    stem_roles=lambda core: {"conv.0": "conv1", "conv.1": "conv2", "frames": Entry("layers.0")},
    front=LogMel,
    enter=enter,
    step=_speech.step,
    norm=norm,
    frames=lambda config, samples: (mel_frames(samples) + 1) // 2,
    hop=lambda config: 2 * _HOP,
    shortest=lambda config: _HOP,
    longest=lambda config: 2 * _HOP * config.max_source_positions,
    norms_first=lambda config: True,
    ready=_ready.no_layerdrop,
    unused=("embed_positions.weight",),
    fixed=("embed_positions.weight",),
    front_is_wave=False,
    padding="exact: a clip is not padded to 30 s, the positional table is cut to it, and padded frames are masked",
)
