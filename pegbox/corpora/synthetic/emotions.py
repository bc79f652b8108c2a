"""Synthetic emotions: neutral sentences in five ways of speaking, in five sessions as IEMOCAP has them."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, Final, Literal

import numpy as np

from pegbox.corpora.synthetic import _store, _text
from pegbox.corpora.synthetic._cast import Studio
from pegbox.corpora.synthetic._espeak import Voice
from pegbox.corpora.synthetic._vary import Ranges, record, tremble
from pegbox.rows import Row, by_fold

ROOM: Final = Ranges(snr=(5.0, 25.0), reverberation=(0.1, 0.5), speed=(0.97, 1.03), chance=0.5)


@dataclass(frozen=True)
class _Prosody:
    """How a feeling moves a voice: factors of rate, pitch and range, and how much it trembles."""

    rate: float
    pitch: float
    range: float
    tremor: float = 0.0


FEELINGS: Final = {
    "angry": _Prosody(1.15, 1.08, 1.45),
    "fearful": _Prosody(1.15, 1.25, 0.8, 0.35),
    "happy": _Prosody(1.05, 1.25, 1.5),
    "neutral": _Prosody(1.0, 1.0, 1.0),
    "sad": _Prosody(0.8, 0.85, 0.5),
}


@dataclass(frozen=True)
class Emotions:
    """Rows with the labels `emotion`, `voice` and `transcript`, and five folds: a session each, with its own voices.

    Rate, pitch and range overlap between the classes, as a voice's own average is not known. `fold` is tested; voices
    with about the share `valid` of the other clips are held out for validation.
    """

    fold: int = 5
    valid: float = 0.2
    size: Literal["small", "medium"] = "small"
    seed: int = 0
    root: str = ""

    disjoint: ClassVar[str | None] = "voice"
    stratify: ClassVar[str | None] = None
    speaks: ClassVar[bool] = True

    def rows(self) -> list[Row]:
        """Returns the rows with splits, by id."""
        return by_fold(_store.rows(self), self.fold, self.valid, self.seed, "voice")

    def count(self) -> int:
        """Returns how many clips there are."""
        return 200 if self.size == "small" else 2_000

    def clips(self) -> Iterator[_store.Clip]:
        """Yields the clips, feeling after feeling in turn, session after session."""
        studio = Studio(self.seed, "emotions")
        people = studio.cast({"train": 20})["train"]
        names = list(FEELINGS)
        for number in range(self.count()):
            session = number * 5 // self.count()
            speaker = people[4 * session + number // len(names) % 4]
            feeling = names[number % len(names)]
            text = _text.sentence(studio.draw, "en-us")
            spoken = studio.say(text, _felt(speaker.voice, FEELINGS[feeling]), jitter=0.12).wave
            wave = record(tremble(spoken, FEELINGS[feeling].tremor, studio.draw), studio.draw, ROOM).wave
            labels = {"emotion": feeling, "voice": speaker.name, "transcript": text}
            yield _store.Clip(wave, labels, "", session + 1)


def _felt(voice: Voice, how: _Prosody) -> Voice:
    rate, pitch, range_ = voice.rate * how.rate, voice.pitch * how.pitch, voice.range * how.range
    return replace(voice, rate=int(rate), pitch=int(np.clip(pitch, 0, 99)), range=int(np.clip(range_, 0, 99)))
