"""Sound as log-Mel frames, pitch and cepstra, paired by warping, and back to sound (Griffin and Lim, 1984).

Pitch is DIO's with StoneMask's correction (Morise et al., 2009), by `pyworld`: `pip install 'pegbox[speech]'`.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from pegbox.errors import RecipeError

LOWEST: Final = 60.0  # Hz: what is below is no voice
HIGHEST: Final = 500.0
ORDER: Final = 13  # of the cepstrum, c0 not counted


@dataclass(frozen=True)
class Analysis:
    """How frames are cut: rate in Hz, samples a window and a hop, Mel bands, and the amplitude that is silence.

    The windows are Hann's, centred on multiples of the hop: a clip of n samples has 1 + n // hop frames. The bands lie
    between `lowest` and `highest` Hz, 0 being half the rate. What the first and last windows see beyond a clip is
    silence, or the clip in a mirror where it is longer than half a window.
    """

    rate: int = 16_000
    window: int = 1024
    hop: int = 256
    bands: int = 80
    floor: float = 1e-3
    lowest: float = 0.0
    highest: float = 0.0
    mirrored: bool = False

    @property
    def seconds(self) -> float:
        """The seconds a frame."""
        return self.hop / self.rate

    def frames(self, samples: int) -> int:
        """Returns how many frames a clip has."""
        return 1 + samples // self.hop

    def log_mel(self, wave: np.ndarray) -> Tensor:  # (samples,) → (time, bands)
        """Returns the natural logarithm of the amplitude in each band."""
        spectrum = self._spectrum(torch.from_numpy(np.ascontiguousarray(wave, np.float32))).abs()
        return (filters(self).T @ spectrum).clamp(min=self.floor).log().T

    def wave(self, log_mel: Tensor, rounds: int = 30) -> np.ndarray:  # (time, bands) → (samples,)
        """Returns sound of these frames: phases that fit the amplitudes, sought in so many fast rounds.

        The first phases are zero, so that the same frames give the same sound. Momentum: Perraudin et al., 2013.
        """
        amplitude = (_back(self).T @ log_mel.T.exp()).clamp(min=1e-8)
        angles, before = torch.ones_like(amplitude, dtype=torch.complex64), torch.tensor(0.0)
        for _ in range(rounds):
            rebuilt = self._spectrum(self._sound(amplitude * angles))
            angles = rebuilt - 0.99 / 1.99 * before
            angles, before = angles / (angles.abs() + 1e-16), rebuilt
        sound: np.ndarray = self._sound(amplitude * angles).numpy()
        return sound

    def pitch(self, wave: np.ndarray) -> np.ndarray:  # (samples,) → (time,)
        """Returns the fundamental frequency in Hz of every frame, 0 where there is no voice.

        Raises:
            RecipeError: `pyworld` is not installed.
        """
        try:
            import pyworld
        except ImportError:
            raise RecipeError("the pitch of speech needs pyworld: pip install 'pegbox[speech]'") from None
        samples = np.ascontiguousarray(wave, np.float64)
        span = {"f0_floor": LOWEST, "f0_ceil": HIGHEST, "frame_period": 1000 * self.seconds}
        rough, times = pyworld.dio(samples, self.rate, **span)
        found: np.ndarray = pyworld.stonemask(samples, rough, times, self.rate)
        return found[: self.frames(len(wave))]

    def _spectrum(self, wave: Tensor) -> Tensor:  # (samples,) → (bins, time)
        hann = torch.hann_window(self.window)
        mode = "reflect" if self.mirrored and len(wave) > self.window // 2 else "constant"
        return torch.stft(wave, self.window, self.hop, window=hann, pad_mode=mode, return_complex=True)

    def _sound(self, spectrum: Tensor) -> Tensor:  # (bins, time) → (samples,)
        length = self.hop * (spectrum.shape[1] - 1)
        return torch.istft(spectrum, self.window, self.hop, window=torch.hann_window(self.window), length=length)


def cepstra(log_mel: Tensor) -> Tensor:  # (time, bands) → (time, order)
    """Returns c1 to c13 of every frame: (2 / bands) times the cosine sums of the log amplitudes; c0 is left out."""
    bands = log_mel.shape[1]
    places = (torch.arange(bands, dtype=torch.float64) + 0.5) * math.pi / bands
    waves = torch.cos(places[:, None] * torch.arange(1, ORDER + 1))  # (bands, order)
    return 2 / bands * (log_mel.double() @ waves)


def warp(costs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:  # (time, other time) → (pairs,), (pairs,)
    """Returns the pairs of the cheapest path from the first frames to the last (Sakoe and Chiba, 1978).

    A step goes one frame ahead in either clip or in both, and each pair on the path costs once.
    """
    rows, columns = costs.shape
    total = np.full((rows + 1, columns + 1), np.inf)
    total[0, 0] = 0.0
    for sum_ in range(rows + columns - 1):  # along the diagonals, none of whose cells needs another
        row = np.arange(max(0, sum_ - columns + 1), min(rows, sum_ + 1))
        column = sum_ - row
        before = np.minimum(np.minimum(total[row, column], total[row, column + 1]), total[row + 1, column])
        total[row + 1, column + 1] = costs[row, column] + before
    return _path(total)


@lru_cache
def filters(analysis: Analysis) -> Tensor:  # (bins, bands)
    """Returns the Mel bands as weights of a spectrum's bins (Slaney's scale and norm)."""
    from transformers.audio_utils import mel_filter_bank

    table: Any = mel_filter_bank(
        num_frequency_bins=analysis.window // 2 + 1,
        num_mel_filters=analysis.bands,
        min_frequency=analysis.lowest,
        max_frequency=analysis.highest or analysis.rate / 2,
        sampling_rate=analysis.rate,
        norm="slaney",
        mel_scale="slaney",
    )
    return torch.from_numpy(table).float()


@lru_cache
def _back(analysis: Analysis) -> Tensor:  # (bands, bins)
    inverse: Tensor = torch.linalg.pinv(filters(analysis))
    return inverse


def _path(total: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    row, column = total.shape[0] - 1, total.shape[1] - 1
    pairs = [(row - 1, column - 1)]
    while row > 1 or column > 1:
        steps = ((row - 1, column - 1), (row - 1, column), (row, column - 1))
        row, column = min(steps, key=lambda place: total[place])  # a tie goes to the step in both
        pairs.append((row - 1, column - 1))
    here, there = zip(*reversed(pairs), strict=True)
    return np.array(here), np.array(there)
