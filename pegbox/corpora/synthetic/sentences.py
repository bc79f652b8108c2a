"""Synthetic sentences: text and phonemes of several languages, for transcription and phoneme recognition."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, Final, Literal

from pegbox.corpora.synthetic import _store, _text
from pegbox.corpora.synthetic._cast import Studio
from pegbox.corpora.synthetic._espeak import bare
from pegbox.corpora.synthetic._vary import Ranges, record
from pegbox.rows import Row

ROOM: Final = Ranges(snr=(10.0, 35.0), reverberation=(0.1, 0.4), chance=0.4)


@dataclass(frozen=True)
class Sentences:
    """Rows with the labels `transcript`, `phonemes` (IPA, between spaces), `times`, `language` and `voice`.

    `times` is JSON: [phoneme, start, end] in seconds of the clip. `languages` are eSpeak NG's codes, out of those that
    Pegbox has words of. No voice stands in two splits.
    """

    languages: tuple[str, ...] = ("en-us",)
    size: Literal["small", "medium"] = "small"
    seed: int = 0
    root: str = ""

    disjoint: ClassVar[str | None] = "voice"
    stratify: ClassVar[str | None] = "language"
    speaks: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _text.known(self.languages)

    def rows(self) -> list[Row]:
        """Returns the rows with splits, by id."""
        return _store.rows(self)

    def count(self) -> int:
        """Returns how many clips there are."""
        return sum(self._counts().values())

    def clips(self) -> Iterator[_store.Clip]:
        """Yields the clips, language after language in turn."""
        studio = Studio(self.seed, "sentences")
        voices = studio.cast({"train": 12, "valid": 4, "test": 8})
        for split, count in self._counts().items():
            for number in range(count):
                language = self.languages[number % len(self.languages)]
                speaker = voices[split][number // len(self.languages) % len(voices[split])]
                text = _text.sentence(studio.draw, language)
                spoken = studio.say(text, replace(speaker.voice, language=language))
                heard = record(spoken.wave, studio.draw, ROOM)
                times = [(bare(s), round(heard.at(a), 3), round(heard.at(b), 3)) for s, a, b in spoken.phonemes]
                labels = {"transcript": text, "phonemes": " ".join(symbol for symbol, _, _ in times)}
                labels |= {"times": json.dumps(times, ensure_ascii=False), "language": language, "voice": speaker.name}
                yield _store.Clip(heard.wave, labels, split)

    def _counts(self) -> dict[_store.Split, int]:
        return _store.counts(240 if self.size == "small" else 2_000, 1)
