"""Synthetic voice: one clean voice and what it says, text to audio, for speech synthesis."""

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
    """Rows with the labels `transcript` and `phonemes` (IPA, between spaces), spoken by one voice without noise.

    `language` is one of those that Pegbox has words of, `timbre` one of eSpeak NG's variants.
    """

    language: str = "en-us"
    timbre: str = "Andrea"
    size: Literal["small", "medium"] = "small"
    seed: int = 0
    root: str = ""

    disjoint: ClassVar[str | None] = "transcript"
    stratify: ClassVar[str | None] = None
    speaks: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _text.known([self.language])
        if self.timbre not in VARIANTS:
            raise RecipeError(f"synthetic_voice(timbre={self.timbre!r}){nearest(self.timbre, VARIANTS)}")

    def rows(self) -> list[Row]:
        """Returns the rows with splits, by id."""
        return _store.rows(self)

    def count(self) -> int:
        """Returns how many clips there are."""
        return sum(self._counts().values())

    def clips(self) -> Iterator[_store.Clip]:
        """Yields the clips, every text once."""
        studio, said = Studio(self.seed, "voice"), set[str]()
        for split, count in self._counts().items():
            for _ in range(count):
                while (text := _text.sentence(studio.draw, self.language)) in said:
                    pass
                said.add(text)
                spoken = studio.say(text, Voice(self.language, self.timbre), jitter=0.0)
                phonemes = " ".join(bare(symbol) for symbol, _, _ in spoken.phonemes)
                yield _store.Clip(spoken.wave, {"transcript": text, "phonemes": phonemes}, split)

    def _counts(self) -> dict[_store.Split, int]:
        return _store.counts(150 if self.size == "small" else 1_500, 1)
