"""A small band: chords, bass, melody and drums from a genre's scale, tempo, metre and timbre."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.random import Generator

from pegbox.audio import Wave
from pegbox.corpora.synthetic._vary import RATE, low_pass


@dataclass(frozen=True)
class Genre:
    """What makes a genre: beats a minute, beats a bar, its scale in half tones, chords, swing, drums and timbre."""

    tempo: tuple[float, float]
    metre: int
    scale: tuple[int, ...]
    chords: tuple[int, ...]  # steps of the scale
    swing: float  # how late the second half of a beat comes
    drums: tuple[str, ...]  # one line an instrument: kick, snare, hat; x on half beats
    harmonics: tuple[float, ...]
    density: float  # chance of a melody note a half beat


_MAJOR, _MINOR, _BLUES = (0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 3, 5, 6, 7, 10, 12)
GENRES: Final[Mapping[str, Genre]] = MappingProxyType(
    {
        "ambient": Genre((50, 75), 4, _MAJOR, (0, 3, 5, 4), 0.5, ("", "", ""), (1.0, 0.1), 0.15),
        "blues": Genre(
            (80, 115), 4, _BLUES, (0, 0, 2, 0), 0.66, ("x...x...", "..x...x.", "x.xxx.xx"), (1, 0.5, 0.3), 0.5
        ),
        "march": Genre((95, 125), 2, _MAJOR, (0, 4, 0, 4), 0.5, ("x...", "..x.", "xxxx"), (1, 0.9, 0.7, 0.5, 0.4), 0.6),
        "rock": Genre(
            (100, 140), 4, _MINOR, (0, 5, 2, 6), 0.5, ("x..xx...", "..x...x.", "xxxxxxxx"), (1, 1, 1, 1, 1, 1), 0.4
        ),
        "techno": Genre(
            (120, 145), 4, _MINOR, (0, 0, 5, 0), 0.5, ("x.x.x.x.", "", ".x.x.x.x"), (1, 0, 0.5, 0, 0.3), 0.7
        ),
        "waltz": Genre((80, 125), 3, _MAJOR, (0, 4, 4, 0), 0.5, ("x.....", "..x.x.", ""), (1.0, 0.3, 0.5), 0.5),
    }
)


def play(genre: Genre, key: int, tempo: float, seconds: float, draw: Generator) -> Wave:
    """Returns an excerpt in a key (0 is C) of `tempo` beats a minute, its melody and balance drawn."""
    beat = 60 / tempo
    wave = np.zeros(int(seconds * RATE))
    timbre = tuple(strength * draw.uniform(0.5, 1.5) for strength in genre.harmonics)
    balance = draw.uniform(0.4, 1.0, 4)  # chords, bass, melody, drums
    root = 48 + key
    for half in range(int(seconds / beat * 2) + 1):
        at = (half // 2 + (half % 2) * genre.swing) * beat
        bar, place = divmod(half, 2 * genre.metre)
        step = genre.chords[bar % len(genre.chords)]
        if place == 0:
            for third in (0, 2, 4):
                _note(wave, at, genre.metre * beat, root + _degree(genre, step + third), timbre, 0.2 * balance[0])
        if place % 2 == 0:
            _note(wave, at, beat, root - 12 + _degree(genre, step), timbre[:2], 0.4 * balance[1])
        if draw.random() < genre.density:
            degree = _degree(genre, int(draw.integers(0, 8)))
            _note(wave, at, beat * draw.uniform(0.4, 1.5), root + 12 + degree, timbre, 0.35 * balance[2])
        for number, line in enumerate(genre.drums):
            if line and line[half % len(line)] == "x":
                _hit(wave, at, number, balance[3], draw)
    return low_pass(wave.astype(np.float32), draw.uniform(3_000, 8_000))


def _degree(genre: Genre, step: int) -> int:
    octave, place = divmod(step, len(genre.scale))
    return 12 * octave + genre.scale[place]


def _note(wave: np.ndarray, at: float, length: float, pitch: int, timbre: tuple[float, ...], loudness: float) -> None:
    first = int(at * RATE)
    time = np.arange(max(0, min(int(length * RATE), len(wave) - first))) / RATE
    frequency = 440 * 2 ** ((pitch - 69) / 12)
    shape = np.minimum(time / 0.01, 1) * np.exp(-2 * time / max(length, 0.05))
    for number, strength in enumerate(timbre, 1):
        if number * frequency < RATE / 2:
            wave[first : first + len(time)] += (
                loudness * strength * shape * np.sin(2 * np.pi * number * frequency * time)
            )


def _hit(wave: np.ndarray, at: float, instrument: int, loudness: float, draw: Generator) -> None:
    """Adds a kick, a snare or a hat."""
    first = int(at * RATE)
    time = np.arange(max(0, min(RATE // 4, len(wave) - first))) / RATE
    noise = draw.standard_normal(len(time))
    sound = (
        np.sin(2 * np.pi * (50 * time + 8 * (1 - np.exp(-time * 40)))) * np.exp(-time * 18),
        (0.7 * noise + np.sin(2 * np.pi * 190 * time)) * np.exp(-time * 22) * 0.6,
        np.diff(noise, prepend=0) * np.exp(-time * 70) * 0.3,
    )[instrument]
    wave[first : first + len(time)] += loudness * sound
