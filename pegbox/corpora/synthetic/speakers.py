"""Synthetic speakers: who speaks, after VoxCeleb1 (arXiv:1706.08612); identification, or verification by trials."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Final, Literal

import numpy as np

from pegbox.corpora.synthetic import _store, _text
from pegbox.corpora.synthetic._cast import Speaker, Studio
from pegbox.corpora.synthetic._vary import RATE, Ranges, cut
from pegbox.rows import Row

ROOM: Final = Ranges(snr=(0.0, 20.0), reverberation=(0.1, 0.8), speed=(0.97, 1.03), chance=0.8)
SECONDS: Final = 2.0


@dataclass(frozen=True)
class Speakers:
    """Rows with the labels `voice` and `transcript`.

    `identify`: every split has every voice, other sentences of it. `verify`: no voice stands in two splits, and
    `trials` pairs the clips of the test part.
    """

    protocol: Literal["identify", "verify"] = "identify"
    size: Literal["small", "medium"] = "small"
    seed: int = 0
    root: str = ""

    stratify: ClassVar[str | None] = "voice"
    speaks: ClassVar[bool] = True

    @property
    def disjoint(self) -> str | None:
        """The voice, where unknown people are verified."""
        return "voice" if self.protocol == "verify" else None

    def rows(self) -> list[Row]:
        """Returns the rows with splits, by id."""
        return _store.rows(self)

    def trials(self) -> list[tuple[str, str, bool]]:
        """Returns pairs of ids of the test part and whether one voice speaks in both; half of them yes."""
        rows = [row for row in self.rows() if row.split == "test"]
        draw, found = np.random.default_rng([self.seed, 7]), set()
        for row in rows:
            for same in (True, False):
                others = [
                    other
                    for other in rows
                    if other.id != row.id and (other.labels["voice"] == row.labels["voice"]) is same
                ]
                for other in draw.permutation([each.id for each in others])[:3].tolist():
                    found.add((*sorted((row.id, other)), same))
        return sorted(found)

    def count(self) -> int:
        """Returns how many clips there are."""
        return sum(self._counts().values())

    def clips(self) -> Iterator[_store.Clip]:
        """Yields the clips, voice after voice in turn."""
        studio = Studio(self.seed, "speakers")
        people = 12 if self.size == "small" else 40
        if self.protocol == "identify":
            everyone = studio.cast({"train": people})["train"]
            voices: dict[_store.Split, list[Speaker]] = dict.fromkeys(_store.SHARES, everyone)
        else:
            voices = studio.cast({"train": people // 2, "valid": people // 6, "test": people // 3})
        for split, count in self._counts().items():
            for number in range(count):
                speaker = voices[split][number % len(voices[split])]
                text = _text.command(studio.draw).text
                wave = cut(studio.take(text, speaker.voice, ROOM).wave, int(SECONDS * RATE), studio.draw)
                yield _store.Clip(wave, {"voice": speaker.name, "transcript": text}, split)

    def _counts(self) -> dict[_store.Split, int]:
        return _store.counts(20 if self.size == "small" else 40, 12 if self.size == "small" else 40)
