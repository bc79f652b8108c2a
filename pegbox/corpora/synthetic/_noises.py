"""Twelve everyday sounds as formulas; each draws its own pitch, pace and timbre. All return 16 kHz samples."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.random import Generator

from pegbox.audio import Wave
from pegbox.corpora.synthetic._vary import RATE, coloured

Noise = Callable[[Generator, float], Wave]
Hit = Callable[[np.ndarray], np.ndarray]  # seconds since it was struck → samples


def siren(draw: Generator, seconds: float) -> Wave:
    """A tone that rises and falls slowly."""
    time = _time(seconds)
    pace, low, high = draw.uniform(0.3, 1.5), draw.uniform(400, 700), draw.uniform(900, 1600)
    pitch = low + (high - low) * (0.5 + 0.5 * np.sin(2 * np.pi * (pace * time + draw.random())))
    return _tone(pitch, (1.0, 0.4, 0.2))


def beeps(draw: Generator, seconds: float) -> Wave:
    """A steady tone, switched on and off."""
    time = _time(seconds)
    pace = draw.uniform(2, 6)
    on = (pace * time + draw.random()) % 1 < draw.uniform(0.3, 0.6)
    return (_tone(np.full_like(time, draw.uniform(700, 2500)), (1.0, 0.2)) * on).astype(np.float32)


def telephone(draw: Generator, seconds: float) -> Wave:
    """Two tones at once, in rings of about a second."""
    time = _time(seconds)
    low, ratio = draw.uniform(350, 600), draw.uniform(1.15, 1.4)
    ring = np.sin(2 * np.pi * low * time) + np.sin(2 * np.pi * low * ratio * time)
    warble = 0.5 + 0.5 * np.sign(np.sin(2 * np.pi * draw.uniform(15, 25) * time))
    return (ring * warble * ((time / draw.uniform(0.8, 1.6) + draw.random()) % 1 < 0.6)).astype(np.float32)


def bell(draw: Generator, seconds: float) -> Wave:
    """Partials that are no multiples of each other, struck and dying away."""
    base, ratios = draw.uniform(250, 900), np.array([0.56, 0.92, 1.19, 1.71, 2.0, 2.74, 3.0, 3.76])[:, None]
    return _struck(
        draw,
        seconds,
        0.7,
        lambda time: (np.sin(2 * np.pi * base * ratios * time) * np.exp(-time * (1 + ratios)) / ratios).sum(0),
    )


def knock(draw: Generator, seconds: float) -> Wave:
    """Short low thuds, a few in a row."""
    base = draw.uniform(90, 260)
    return _struck(
        draw,
        seconds,
        draw.uniform(3, 6),
        lambda time: (
            (np.sin(2 * np.pi * base * time) + 0.5 * draw.standard_normal(len(time)) * np.exp(-time * 200))
            * np.exp(-time * draw.uniform(30, 60))
        ),
    )


def clock(draw: Generator, seconds: float) -> Wave:
    """Clicks at an even pace."""
    pitch = draw.uniform(1500, 4500)
    return _struck(
        draw,
        seconds,
        draw.uniform(1.5, 4),
        lambda time: (
            (np.sin(2 * np.pi * pitch * time) + draw.standard_normal(len(time)))
            * np.exp(-time * draw.uniform(150, 500))
        ),
        even=True,
    )


def glass(draw: Generator, seconds: float) -> Wave:
    """Many high partials, shattered at once and in pieces."""
    pitches = draw.uniform(2000, 7000, 12)
    return _struck(
        draw,
        seconds,
        draw.uniform(1, 2.5),
        lambda time: (
            sum(
                np.sin(2 * np.pi * pitch * time + draw.random() * 6) * np.exp(-time * draw.uniform(8, 40))
                for pitch in pitches
            )
            + 2 * draw.standard_normal(len(time)) * np.exp(-time * 60)
        ),
    )


def engine(draw: Generator, seconds: float) -> Wave:
    """A low buzz of many harmonics with uneven strokes."""
    time = _time(seconds)
    drift = 1 + 0.1 * np.sin(2 * np.pi * draw.uniform(0.1, 0.6) * time + draw.random() * 6)
    buzz = _tone(draw.uniform(35, 110) * drift, tuple(1 / n ** draw.uniform(0.6, 1.1) for n in range(1, 16)))
    return (buzz + 20 * coloured(len(time), 1.0, draw)).astype(np.float32)


def rain(draw: Generator, seconds: float) -> Wave:
    """Steady hiss and many small drops."""
    hiss = draw.standard_normal(int(seconds * RATE)) * draw.uniform(0.1, 0.3)
    drops = draw.random(len(hiss)) < draw.uniform(30, 200) / RATE
    shape = np.exp(-np.arange(160) / draw.uniform(8, 25)) * draw.standard_normal(160)
    return (hiss + np.convolve(drops * draw.uniform(1, 4, len(hiss)), shape)[: len(hiss)]).astype(np.float32)


def wind(draw: Generator, seconds: float) -> Wave:
    """Brown noise in gusts."""
    time = _time(seconds)
    gust = 0.55 + 0.45 * np.sin(2 * np.pi * draw.uniform(0.15, 0.6) * time + draw.random() * 6)
    noise = coloured(len(time), draw.uniform(1.2, 2.0), draw)
    return np.asarray(noise / noise.std() * gust, np.float32)


def thunder(draw: Generator, seconds: float) -> Wave:
    """A crack, then a low roll that dies away."""
    time = _time(seconds)
    start = draw.uniform(0, seconds / 3)
    roll = coloured(len(time), draw.uniform(1.6, 2.2), draw)
    crack = draw.standard_normal(len(time)) * np.exp(-np.maximum(time - start, 0) * 25) * draw.uniform(0.1, 0.8)
    fall = np.exp(-np.maximum(time - start, 0) * draw.uniform(0.8, 2.0))
    return np.asarray((roll / roll.std() * fall + crack) * (time >= start), np.float32)


def birds(draw: Generator, seconds: float) -> Wave:
    """High whistles that glide, in short calls."""
    time, wave = _time(seconds), np.zeros(int(seconds * RATE), np.float32)
    for _ in range(int(draw.integers(4, 14))):
        at, length = draw.uniform(0, seconds * 0.9), draw.uniform(0.05, 0.25)
        inside = (time - at) / length
        pitch = draw.uniform(2200, 5000) + draw.uniform(-1500, 1500) * inside
        pitch = pitch + draw.uniform(0, 500) * np.sin(2 * np.pi * draw.uniform(10, 40) * time)
        shape = np.sin(np.pi * np.clip(inside, 0, 1))
        wave += (np.sin(2 * np.pi * np.cumsum(pitch) / RATE) * shape * draw.uniform(0.3, 1.0)).astype(np.float32)
    return wave


NOISES: Final[Mapping[str, Noise]] = MappingProxyType(
    {
        made.__name__: made
        for made in (beeps, bell, birds, clock, engine, glass, knock, rain, siren, telephone, thunder, wind)
    }
)


def _time(seconds: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.arange(int(seconds * RATE)) / RATE


def _tone(pitch: np.ndarray, strengths: tuple[float, ...]) -> Wave:  # (samples,) in Hz
    """Returns harmonics of a moving pitch."""
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    return sum(
        (strength * np.sin(number * phase) for number, strength in enumerate(strengths, 1)), np.zeros(len(pitch))
    ).astype(np.float32)


def _struck(draw: Generator, seconds: float, pace: float, hit: Hit, even: bool = False) -> Wave:
    """Returns one sound repeated `pace` times a second, evenly or not."""
    wave, at = np.zeros(int(seconds * RATE)), draw.uniform(0, min(0.3, 1 / pace))
    while at < seconds - 0.01:
        first = int(at * RATE)
        length = min(len(wave) - first, int(1.5 * RATE))
        wave[first : first + length] += hit(np.arange(length) / RATE) * draw.uniform(0.6, 1.0)
        at += 1 / pace if even else draw.uniform(0.5, 1.5) / pace
    return wave.astype(np.float32)
