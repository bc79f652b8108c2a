"""How real recordings differ: rooms, noise, microphones, loudness, clipping, silence at the ends. All by numpy."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import soxr
from numpy.random import Generator

from pegbox.audio import Wave

RATE: Final = 16_000


@dataclass(frozen=True)
class Ranges:
    """What is drawn, uniformly between the two ends; `chance` is how often each change happens at all."""

    snr: tuple[float, float] = (5.0, 35.0)  # dB
    reverberation: tuple[float, float] = (0.1, 0.6)  # seconds until -60 dB
    loudness: tuple[float, float] = (-34.0, -14.0)  # dB of full scale, root mean square
    silence: tuple[float, float] = (0.0, 0.25)  # seconds at either end
    speed: tuple[float, float] = (0.94, 1.06)
    cutoff: tuple[float, float] = (2500.0, 7500.0)  # Hz
    chance: float = 0.5


HARD: Final = Ranges(snr=(-8.0, 8.0), reverberation=(0.2, 1.0), speed=(0.7, 1.4), chance=0.9)


@dataclass(frozen=True)
class Recorded:
    """A varied sound, and where its moments went: second `t` of the original is heard at `start + t / speed`."""

    wave: Wave
    start: float
    speed: float

    def at(self, moment: float) -> float:
        """Returns when a moment of the original is heard, in seconds."""
        return self.start + moment / self.speed


def record(wave: Wave, draw: Generator, ranges: Ranges, noise: Wave | None = None) -> Recorded:
    """Returns the sound as some microphone in some room might have taken it.

    `noise` is what is added instead of coloured noise, repeated or cut to the length.
    """
    speed = draw.uniform(*ranges.speed)
    before, after = (np.zeros(int(draw.uniform(*ranges.silence) * RATE), np.float32) for _ in range(2))
    found = np.concatenate([before, change_speed(wave, speed), after])
    if draw.random() < ranges.chance:
        found = reverberate(found, draw, draw.uniform(*ranges.reverberation))
    if draw.random() < ranges.chance:
        found = low_pass(found, draw.uniform(*ranges.cutoff))
    heard = coloured(len(found), draw.uniform(0.0, 2.0), draw) if noise is None else noise
    found = loud(mix(found, heard, draw.uniform(*ranges.snr)), draw.uniform(*ranges.loudness))
    if draw.random() < ranges.chance / 5:
        peak = float(np.abs(found).max()) * draw.uniform(0.3, 0.8)
        found = np.clip(found, -peak, peak)
    return Recorded(np.clip(found, -1, 1).astype(np.float32), len(before) / RATE, speed)


def cut(wave: Wave, length: int, draw: Generator) -> Wave:
    """Returns a random part of a longer sound, or a shorter one at a random place in silence."""
    if len(wave) >= length:
        start = int(draw.integers(len(wave) - length + 1))
        return wave[start : start + length]
    before = int(draw.integers(length - len(wave) + 1))
    return np.pad(wave, (before, length - len(wave) - before))


def tremble(wave: Wave, depth: float, draw: Generator) -> Wave:
    """Returns the sound with its loudness moved by up to the share `depth`, five to eight times a second."""
    turns = draw.uniform(5, 8) * np.arange(len(wave)) / RATE + draw.random()
    return (wave * (1 - depth * (0.5 + 0.5 * np.sin(2 * np.pi * turns)))).astype(np.float32)


def change_speed(wave: Wave, factor: float) -> Wave:
    """Returns the sound faster by `factor`, its pitch raised with it."""
    found: Wave = soxr.resample(wave, factor, 1.0, quality="LQ").astype(np.float32)
    return found


def coloured(length: int, slope: float, draw: Generator) -> Wave:
    """Returns noise whose power falls with frequency to the power `slope`: 0 white, 1 pink, 2 brown."""
    size = 1 << max(4, (length - 1).bit_length())
    spectrum = np.fft.rfft(draw.standard_normal(size).astype(np.float32))
    spectrum *= np.maximum(np.arange(len(spectrum)), 1 + size // 800) ** (-slope / 2)
    return np.fft.irfft(spectrum)[:length].astype(np.float32)


def reverberate(wave: Wave, draw: Generator, decay: float) -> Wave:
    """Returns the sound in a room whose echo falls by 60 dB in `decay` seconds, at the same length."""
    size = max(2, int(decay * RATE))
    tail = draw.standard_normal(size) * 10 ** (-3 * np.arange(size) / size)
    tail *= draw.uniform(0.1, 0.6) / np.sqrt((tail**2).sum())
    tail[0] = 1.0
    width = 1 << (len(wave) + size - 2).bit_length()
    return np.fft.irfft(np.fft.rfft(wave, width) * np.fft.rfft(tail, width), width)[: len(wave)].astype(np.float32)


def low_pass(wave: Wave, cutoff: float, rate: int = RATE) -> Wave:
    """Returns the sound with what lies above `cutoff` Hz taken away, 12 dB an octave."""
    width = 1 << max(1, (len(wave) - 1).bit_length())
    gain = 1 / (1 + (np.fft.rfftfreq(width, 1 / rate) / cutoff) ** 4) ** 0.5
    return np.fft.irfft(np.fft.rfft(wave, width) * gain, width)[: len(wave)].astype(np.float32)


def mix(wave: Wave, noise: Wave, snr: float) -> Wave:
    """Returns both, the noise `snr` dB below the sound."""
    fitted = np.resize(noise, len(wave))
    scale = rms(wave) / max(rms(fitted), 1e-9) * 10 ** (-snr / 20)
    return (wave + scale * fitted).astype(np.float32)


def loud(wave: Wave, level: float) -> Wave:
    """Returns the sound at a root mean square of `level` dB of full scale."""
    return (wave * (10 ** (level / 20) / max(rms(wave), 1e-9))).astype(np.float32)


def rms(wave: Wave) -> float:
    """Returns the root mean square."""
    return float(np.sqrt(np.mean(np.square(wave, dtype=np.float64)))) if len(wave) else 0.0
