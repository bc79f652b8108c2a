"""Synthetic voice: one clean voice, or several, and what they say, text to audio, for speech synthesis."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

from pegbox.corpora.synthetic import _store, _text
from pegbox.corpora.synthetic._cast import VARIANTS, Studio
from pegbox.corpora.synthetic._espeak import Voice, bare
from pegbox.errors import RecipeError, nearest
from pegbox.rows import Row


@dataclass(frozen=True)
class OneVoice:
    """Rows with the labels `transcript`, `phonemes` (IPA, between spaces), `times` and `voice`, spoken without noise.

    `times` is JSON: [phoneme, start, end] in seconds. `language` is one of those that Pegbox has words of, `timbre` one
    of eSpeak NG's variants; `others` are more of them, each of which says as many texts, all of its own.
    """

    language: str = "en-us"
    timbre: str = "Andrea"
    others: tuple[str, ...] = ()
    size: Literal["small", "medium"] = "small"
    seed: int = 0
    root: str = ""

    disjoint: ClassVar[str | None] = "transcript"
    stratify: ClassVar[str | None] = None
    speaks: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _text.known([self.language])
        for timbre in self._timbres:
            if timbre not in VARIANTS:
                raise RecipeError(f"synthetic_voice(timbre={timbre!r}){nearest(timbre, VARIANTS)}")
        if len(set(self._timbres)) < len(self._timbres):
            raise RecipeError(f"synthetic_voice(others={list(self.others)}): every timbre once")
        if self.count() > _text.sentences(self.language):
            most = _text.sentences(self.language)
            raise RecipeError(f"synthetic_voice: {self.count()} texts, no two alike; {self.language} has only {most}")

    def rows(self) -> list[Row]:
        """Returns the rows with splits, by id."""
        return _store.rows(self)

    def count(self) -> int:
        """Returns how many clips there are."""
        return len(self._timbres) * sum(self._counts().values())

    def clips(self) -> Iterator[_store.Clip]:
        """Yields the clips, every text once."""
        studio, said = Studio(self.seed, "voice"), set[str]()
        for timbre in self._timbres:
            for split, count in self._counts().items():
                for _ in range(count):
                    yield self._clip(studio, self._text(studio, said), timbre, split)

    @property
    def _timbres(self) -> tuple[str, ...]:
        return (self.timbre, *self.others)

    def _text(self, studio: Studio, said: set[str]) -> str:
        while (text := _text.sentence(studio.draw, self.language)) in said:
            pass
        said.add(text)
        return text

    def _clip(self, studio: Studio, text: str, timbre: str, split: _store.Split) -> _store.Clip:
        spoken = studio.say(text, Voice(self.language, timbre), jitter=0.0)
        times = [(bare(symbol), round(start, 3), round(end, 3)) for symbol, start, end in spoken.phonemes]
        labels = {"transcript": text, "phonemes": " ".join(symbol for symbol, _, _ in times)}
        labels |= {"times": json.dumps(times, ensure_ascii=False), "voice": timbre}
        return _store.Clip(spoken.wave, labels, split)

    def _counts(self) -> dict[_store.Split, int]:
        return _store.counts(150 if self.size == "small" else 1_500, 1)
