"""The Kaldi-like filterbank of the library's extractors: whole windows, log power in Mel bands."""

import warnings
from typing import Final

import torch
from torch import Tensor, nn
from transformers.audio_utils import mel_filter_bank

WINDOW: Final = 400
HOP: Final = 160
_BINS: Final = 512


class Filterbank(nn.Module):
    """Log energies of the windows of a waveform."""

    def __init__(self, bins: int, rate: int, power: float = 1.0) -> None:
        """Makes filters for that rate; the window is a Hann window to that power."""
        super().__init__()
        with warnings.catch_warnings():  # the lowest of AST's 128 filters is empty, as it was in pretraining
            warnings.simplefilter("ignore", UserWarning)
            filters = mel_filter_bank(
                num_frequency_bins=_BINS // 2 + 1,
                num_mel_filters=bins,
                min_frequency=20,
                max_frequency=rate // 2,
                sampling_rate=rate,
                norm=None,
                mel_scale="kaldi",
                triangularize_in_mel_space=True,
            )
        self.power = power
        self.register_buffer("filters", torch.tensor(filters, dtype=torch.float32), persistent=False)

    def forward(self, wave: Tensor) -> Tensor:  # (batch, samples) → (batch, windows, bins)
        """Returns one row a window, computed in float64 as the library does: a pure tone spans more than float32."""
        exact = wave if wave.device.type == "mps" else wave.double()  # Apple's devices have no float64
        window = torch.hann_window(WINDOW, periodic=False, dtype=exact.dtype, device=wave.device).pow(self.power)
        pieces = exact.unfold(1, WINDOW, HOP)  # (batch, windows, samples)
        pieces = pieces - pieces.mean(-1, keepdim=True)
        before = torch.cat([pieces[..., :1], pieces[..., :-1]], dim=-1)
        spectrum = torch.fft.rfft((pieces - 0.97 * before) * window, _BINS)
        energies: Tensor = spectrum.abs().square() @ self.get_buffer("filters").to(exact.dtype)
        return energies.clamp(min=1.192092955078125e-07).log().to(wave.dtype)


def windows(samples: int) -> int:
    """Returns whole windows in a clip."""
    return (samples - WINDOW) // HOP + 1


def silenced(bank: Tensor, hidden: Tensor) -> Tensor:  # (batch, windows, bins), (batch, 4)
    """Returns a copy whose bins from hidden[0] up to hidden[1] and windows from hidden[2] up to hidden[3] are 0."""
    first_bin, last_bin, first, last = hidden.to(bank.device)[:, :, None].unbind(1)  # each (batch, 1)
    windows, bins = (torch.arange(size, device=bank.device) for size in bank.shape[1:])
    bands, stretch = (first_bin <= bins) & (bins < last_bin), (first <= windows) & (windows < last)
    return bank.masked_fill(bands[:, None, :] | stretch[:, :, None], 0.0)


def real_windows(lengths: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:  # (batch,), (batch, windows, bins)
    """Returns each clip's windows (batch,), and which of them all are a clip's own (batch, windows, 1)."""
    counts = torch.tensor([windows(samples) for samples in lengths.tolist()], device=like.device)
    return counts, (torch.arange(like.shape[1], device=like.device) < counts[:, None])[..., None]
