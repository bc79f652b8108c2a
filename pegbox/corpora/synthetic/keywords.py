"""Synthetic keywords: ten commands, other words, and silence, after Speech Commands (arXiv:1804.03209)."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, Final, Literal

import numpy as np

from pegbox.audio import Wave
from pegbox.corpora.synthetic import _store
from pegbox.corpora.synthetic._cast import MANY, Studio
from pegbox.corpora.synthetic._espeak import Voice
from pegbox.corpora.synthetic._vary import HARD, RATE, Ranges, cut, record
from pegbox.rows import Row

WORDS: Final = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
OTHERS: Final = (
    *("bed", "bird", "cat", "dog", "happy", "house", "marvin", "sheila", "tree", "wow", "backward", "forward"),
    *("follow", "learn", "visual", "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
)
CLASSES: Final = (*WORDS, "_unknown_", "_silence_")
QUIET: Final = np.full(RATE, 1e-6, np.float32)
ROOM: Final = Ranges(snr=(-3.0, 20.0), reverberation=(0.1, 0.7), speed=(0.9, 1.1), silence=(0.0, 0.0), chance=0.7)


@dataclass(frozen=True)
class Keywords:
    """Rows with the labels `word` (12 classes) and `voice`; no voice stands in two splits.

    `hard`: 52 voices instead of 27 and twice as many clips, 0.7 to 1.4 times as fast and high, in more noise and echo.
    """

    hard: bool = False
    size: Literal["small", "medium"] = "small"
    seed: int = 0
    root: str = ""

    disjoint: ClassVar[str | None] = "voice"
    stratify: ClassVar[str | None] = "word"
    speaks: ClassVar[bool] = True

    def rows(self) -> list[Row]:
        """Returns the rows with splits, by id."""
        return _store.rows(self)

    def count(self) -> int:
        """Returns how many clips there are."""
        return sum(self._counts().values())

    def clips(self) -> Iterator[_store.Clip]:
        """Yields the clips, class after class."""
        studio = Studio(self.seed, "keywords")
        voices = studio.cast(MANY if self.hard else {"train": 12, "valid": 5, "test": 10})
        for split, count in self._counts().items():
            for number in range(count):
                speaker = voices[split][number // len(CLASSES) % len(voices[split])]
                word = CLASSES[number % len(CLASSES)]
                text = studio.pick(OTHERS) if word == "_unknown_" else word
                wave = (_hard if self.hard else _usual)(studio, text, speaker.voice)
                yield _store.Clip(cut(wave, RATE, studio.draw), {"word": word, "voice": speaker.name}, split)

    def _counts(self) -> dict[_store.Split, int]:
        return _store.counts((40 if self.size == "small" else 200) * (2 if self.hard else 1), len(CLASSES))


def _usual(studio: Studio, text: str, voice: Voice) -> Wave:
    said = QUIET if text == "_silence_" else studio.say(text, voice).wave
    return record(cut(said, int(1.1 * RATE), studio.draw), studio.draw, ROOM).wave


def _hard(studio: Studio, text: str, voice: Voice) -> Wave:
    """Returns a second of sound, the word whole in it unless it is longer at the speed at which it will be heard."""
    said = QUIET if text == "_silence_" else studio.voiced(text, voice)
    speed = studio.draw.uniform(*HARD.speed)
    placed = cut(said, int(RATE * speed), studio.draw)
    return record(placed, studio.draw, replace(HARD, speed=(speed, speed), silence=(0.0, 0.0))).wave
