"""Synthetic sounds: twelve everyday sounds, alone in five folds as ESC-50, or mixed and multi-label as FSD50K."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Final, Literal

import numpy as np

from pegbox.audio import Wave
from pegbox.corpora.synthetic import _store
from pegbox.corpora.synthetic._noises import NOISES
from pegbox.corpora.synthetic._vary import RATE, Ranges, cut, mix, record
from pegbox.rows import Row, by_fold

ROOM: Final = Ranges(snr=(-6.0, 15.0), reverberation=(0.1, 0.8), speed=(0.8, 1.25), silence=(0.0, 0.0), chance=0.6)
HARD: Final = Ranges(snr=(-14.0, 4.0), reverberation=(0.2, 1.2), speed=(0.6, 1.6), silence=(0.0, 0.0), chance=0.9)
SECONDS: Final = 2.5
PLAYED: Final = 1.3 * SECONDS  # before its speed is changed and a part is cut


@dataclass(frozen=True)
class Sounds:
    """Rows with the label `event`, or with `mixed` one to three `events` joined by ',' and no folds.

    With folds, `fold` is tested and a share `valid` of the others held out. `hard`: three times as many clips, 0.6 to
    1.6 times as fast and high, in more noise and echo.
    """

    mixed: bool = False
    hard: bool = False
    fold: int = 5
    valid: float = 0.125
    size: Literal["small", "medium"] = "small"
    seed: int = 0
    root: str = ""

    disjoint: ClassVar[str | None] = None
    speaks: ClassVar[bool] = False

    @property
    def stratify(self) -> str | None:
        """The event, where there is one."""
        return None if self.mixed else "event"

    def rows(self) -> list[Row]:
        """Returns the rows with splits, by id."""
        found = _store.rows(self)
        return found if self.mixed else by_fold(found, self.fold, self.valid, self.seed, None, "event")

    def count(self) -> int:
        """Returns how many clips there are."""
        if self.mixed:
            return sum(self._counts().values())
        return (240 if self.size == "small" else 1_800) * self._times()

    def clips(self) -> Iterator[_store.Clip]:
        """Yields the clips, event after event in turn."""
        draw = np.random.default_rng([self.seed, *b"sounds", self.mixed])
        yield from self._mixtures(draw) if self.mixed else self._single(draw)

    def _single(self, draw: np.random.Generator) -> Iterator[_store.Clip]:
        for number in range(self.count()):
            event = list(NOISES)[number % len(NOISES)]
            heard = self._record(NOISES[event](draw, self._played()), draw)
            wave = cut(heard, int(SECONDS * RATE), draw)
            yield _store.Clip(wave, {"event": event}, "", number * 5 // self.count() + 1)

    def _mixtures(self, draw: np.random.Generator) -> Iterator[_store.Clip]:
        for split, count in self._counts().items():
            for _ in range(count):
                events = sorted(draw.choice(list(NOISES), int(draw.integers(1, 4)), replace=False).tolist())
                wave = NOISES[events[0]](draw, self._played())
                for event in events[1:]:
                    wave = mix(wave, NOISES[event](draw, self._played()), draw.uniform(-6, 6))
                heard = cut(self._record(wave, draw), int(SECONDS * RATE), draw)
                yield _store.Clip(heard, {"events": ",".join(events)}, split)

    def _counts(self) -> dict[_store.Split, int]:
        return _store.counts((20 if self.size == "small" else 150) * self._times(), len(NOISES))

    def _times(self) -> int:
        return 3 if self.hard else 1

    def _played(self) -> float:
        return HARD.speed[1] * SECONDS if self.hard else PLAYED

    def _record(self, wave: Wave, draw: np.random.Generator) -> Wave:
        return record(wave, draw, HARD if self.hard else ROOM).wave
