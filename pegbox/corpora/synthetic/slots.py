"""Synthetic slots: requests whose words bear slots, after SNIPS (arXiv:1805.10190) as spoken in SUPERB."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Final, Literal

from pegbox.corpora.synthetic import _store, _text
from pegbox.corpora.synthetic._cast import Studio
from pegbox.corpora.synthetic._vary import Ranges
from pegbox.rows import Row

ROOM: Final = Ranges(snr=(8.0, 30.0), reverberation=(0.1, 0.5), chance=0.5)


@dataclass(frozen=True)
class Slots:
    """Rows with the labels `transcript`, `slots` (a tag a word, O for none), `intent` and `voice`.

    No voice stands in two splits.
    """

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
        studio = Studio(self.seed, "slots")
        voices = studio.cast({"train": 12, "valid": 4, "test": 8})
        for split, count in self._counts().items():
            for number in range(count):
                intent, words, tags = _text.request(studio.draw, number)
                speaker = voices[split][number // len(_text.REQUESTS) % len(voices[split])]
                text = " ".join(words)
                labels = {"transcript": text, "slots": " ".join(tags), "intent": intent, "voice": speaker.name}
                yield _store.Clip(studio.take(text, speaker.voice, ROOM).wave, labels, split)

    def _counts(self) -> dict[_store.Split, int]:
        return _store.counts(30 if self.size == "small" else 240, len(_text.REQUESTS))
