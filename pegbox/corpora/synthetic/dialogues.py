"""Synthetic dialogues: two voices who take turns and interrupt each other, with turn times, for diarization."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Literal

import numpy as np

from pegbox.audio import Wave
from pegbox.corpora.synthetic import _store, _text
from pegbox.corpora.synthetic._cast import Speaker, Studio
from pegbox.corpora.synthetic._vary import RATE, Ranges, record
from pegbox.rows import Row

ROOM: Final = Ranges(snr=(10.0, 30.0), reverberation=(0.1, 0.4), speed=(1.0, 1.0), silence=(0.0, 0.0), chance=0.5)
Turn = tuple[str, float, float]


@dataclass(frozen=True)
class Dialogues:
    """Rows with the labels `turns` (JSON: [voice, start, end] in seconds) and `voices` (two, joined by ',').

    Turns last from a voice's first to its last sound. The same turns stand as RTTM next to each sound file. No voice
    stands in two splits.
    """

    size: Literal["small", "medium"] = "small"
    seed: int = 0
    root: str = ""

    disjoint: ClassVar[str | None] = "voices"
    stratify: ClassVar[str | None] = None
    speaks: ClassVar[bool] = True

    def rows(self) -> list[Row]:
        """Returns the rows with splits, by id."""
        return _store.rows(self)

    def count(self) -> int:
        """Returns how many dialogues there are."""
        return sum(self._counts().values())

    def clips(self) -> Iterator[_store.Clip]:
        """Yields the dialogues."""
        studio = Studio(self.seed, "dialogues")
        voices = studio.cast({"train": 16, "valid": 4, "test": 8})
        number = 0
        for split, count in self._counts().items():
            for _ in range(count):
                first, second = studio.draw.choice(len(voices[split]), 2, replace=False).tolist()
                wave, turns = _talk(studio, (voices[split][first], voices[split][second]))
                names = ",".join(sorted({voices[split][first].name, voices[split][second].name}))
                labels = {"turns": json.dumps(turns), "voices": names}
                yield _store.Clip(wave, labels, split, beside={"rttm": rttm(f"{number:05d}", turns)})
                number += 1

    def _counts(self) -> dict[_store.Split, int]:
        return _store.counts(40 if self.size == "small" else 300, 1)


def rttm(name: str, turns: Sequence[Turn]) -> str:
    """Returns turns as lines of NIST's rich transcription time marks."""
    return "".join(
        f"SPEAKER {name} 1 {start:.3f} {end - start:.3f} <NA> <NA> {voice} <NA> <NA>\n" for voice, start, end in turns
    )


def _talk(studio: Studio, pair: tuple[Speaker, Speaker]) -> tuple[Wave, list[Turn]]:
    mixed, turns, end = np.zeros(0, np.float32), list[Turn](), 0.0
    for number in range(int(studio.draw.integers(4, 8))):
        speaker = pair[number % 2]
        voiced = studio.voiced(_text.sentence(studio.draw, "en-us"), speaker.voice)
        start = max(0.0, end + studio.draw.uniform(-0.8, 0.6)) if turns else studio.draw.uniform(0.0, 0.5)
        first = int(start * RATE)
        mixed = np.pad(mixed, (0, max(0, first + len(voiced) - len(mixed))))
        mixed[first : first + len(voiced)] += voiced * studio.draw.uniform(0.5, 1.0)
        turns.append((speaker.name, round(first / RATE, 3), round((first + len(voiced)) / RATE, 3)))
        end = turns[-1][2]
    tail = np.zeros(int(studio.draw.uniform(0.0, 0.5) * RATE), np.float32)
    return record(np.concatenate([mixed, tail]), studio.draw, ROOM).wave, turns
