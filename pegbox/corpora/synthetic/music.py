"""Synthetic music: genres that differ in scale, tempo, rhythm and timbre, after GTZAN (Tzanetakis and Cook, 2002)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Final, Literal

import numpy as np

from pegbox.corpora.synthetic import _store
from pegbox.corpora.synthetic._band import GENRES, play
from pegbox.corpora.synthetic._vary import RATE, Ranges, cut, record
from pegbox.rows import Row

ROOM: Final = Ranges(snr=(3.0, 25.0), reverberation=(0.1, 0.8), speed=(0.9, 1.1), silence=(0.0, 0.0), chance=0.5)
SECONDS: Final = 4.0


@dataclass(frozen=True)
class Music:
    """Rows with the labels `genre` (6 classes), `key` and `tempo` (beats a minute); excerpts of four seconds."""

    size: Literal["small", "medium"] = "small"
    seed: int = 0
    root: str = ""

    disjoint: ClassVar[str | None] = None
    stratify: ClassVar[str | None] = "genre"
    speaks: ClassVar[bool] = False

    def rows(self) -> list[Row]:
        """Returns the rows with splits, by id."""
        return _store.rows(self)

    def count(self) -> int:
        """Returns how many clips there are."""
        return sum(self._counts().values())

    def clips(self) -> Iterator[_store.Clip]:
        """Yields the excerpts, genre after genre in turn."""
        draw = np.random.default_rng([self.seed, *b"music"])
        for split, count in self._counts().items():
            for number in range(count):
                genre = list(GENRES)[number % len(GENRES)]
                key, tempo = int(draw.integers(12)), float(draw.uniform(*GENRES[genre].tempo))
                heard = record(play(GENRES[genre], key, tempo, SECONDS * 1.2, draw), draw, ROOM)
                tempo /= heard.at(1.0) - heard.at(0.0)  # a room plays it faster or slower
                labels = {"genre": genre, "key": str(key), "tempo": f"{tempo:.2f}"}
                yield _store.Clip(cut(heard.wave, int(SECONDS * RATE), draw), labels, split)

    def _counts(self) -> dict[_store.Split, int]:
        return _store.counts(30 if self.size == "small" else 240, len(GENRES))
