"""Synthetic intents: commands with action, object and location, after Fluent Speech Commands (arXiv:1904.03670)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Final, Literal

from pegbox.corpora.synthetic import _store, _text
from pegbox.corpora.synthetic._cast import MANY, Studio
from pegbox.corpora.synthetic._vary import HARD, Ranges
from pegbox.rows import Row

ROOM: Final = Ranges(snr=(3.0, 25.0), reverberation=(0.1, 0.6), speed=(0.92, 1.08), chance=0.6)


@dataclass(frozen=True)
class Intents:
    """Rows with the labels `action`, `object`, `location`, `intent` (the three joined by '|'), `transcript`, `voice`.

    No voice stands in two splits. `hard`: 52 voices instead of 29 and three times as many clips, 0.7 to 1.4 times as
    fast and high, in more noise and echo.
    """

    hard: bool = False
    size: Literal["small", "medium"] = "small"
    seed: int = 0
    root: str = ""

    disjoint: ClassVar[str | None] = "voice"
    stratify: ClassVar[str | None] = "intent"
    speaks: ClassVar[bool] = True

    def rows(self) -> list[Row]:
        """Returns the rows with splits, by id."""
        return _store.rows(self)

    def count(self) -> int:
        """Returns how many clips there are."""
        return sum(self._counts().values())

    def clips(self) -> Iterator[_store.Clip]:
        """Yields the clips, intent after intent in turn."""
        studio = Studio(self.seed, "intents")
        voices = studio.cast(MANY if self.hard else {"train": 14, "valid": 5, "test": 10})
        for split, count in self._counts().items():
            for number in range(count):
                said = _text.command(studio.draw, number % len(_text.INTENTS))
                speaker = voices[split][number // len(_text.INTENTS) % len(voices[split])]
                labels = {"action": said.action, "object": said.object, "location": said.location}
                labels |= {"intent": "|".join(labels.values()), "transcript": said.text, "voice": speaker.name}
                yield _store.Clip(
                    studio.take(said.text, speaker.voice, HARD if self.hard else ROOM).wave, labels, split
                )

    def _counts(self) -> dict[_store.Split, int]:
        return _store.counts((20 if self.size == "small" else 120) * (3 if self.hard else 1), len(_text.INTENTS))
