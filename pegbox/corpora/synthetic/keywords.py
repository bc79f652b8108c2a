"""Synthetic keywords: ten commands, other words, and silence, after Speech Commands (arXiv:1804.03209)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Final, Literal

import numpy as np

from pegbox.corpora.synthetic import _store
from pegbox.corpora.synthetic._cast import Studio
from pegbox.corpora.synthetic._vary import RATE, Ranges, cut, record
from pegbox.rows import Row

WORDS: Final = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
OTHERS: Final = (
    *("bed", "bird", "cat", "dog", "happy", "house", "marvin", "sheila", "tree", "wow", "backward", "forward"),
    *("follow", "learn", "visual", "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
)
CLASSES: Final = (*WORDS, "_unknown_", "_silence_")
ROOM: Final = Ranges(snr=(-3.0, 20.0), reverberation=(0.1, 0.7), speed=(0.9, 1.1), silence=(0.0, 0.0), chance=0.7)


@dataclass(frozen=True)
class Keywords:
    """Rows with the labels `word` (12 classes) and `voice`; no voice stands in two splits."""

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
        voices = studio.cast({"train": 12, "valid": 5, "test": 10})
        for split, count in self._counts().items():
            for number in range(count):
                speaker = voices[split][number // len(CLASSES) % len(voices[split])]
                word = CLASSES[number % len(CLASSES)]
                if word == "_silence_":
                    said = np.full(RATE, 1e-6, np.float32)
                else:
                    text = studio.pick(OTHERS) if word == "_unknown_" else word
                    said = studio.say(text, speaker.voice).wave
                wave = record(cut(said, int(1.1 * RATE), studio.draw), studio.draw, ROOM).wave
                yield _store.Clip(cut(wave, RATE, studio.draw), {"word": word, "voice": speaker.name}, split)

    def _counts(self) -> dict[_store.Split, int]:
        return _store.counts(40 if self.size == "small" else 200, len(CLASSES))
