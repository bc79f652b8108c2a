"""Who speaks: voices of eSpeak NG, drawn from a seed and dealt to splits so that no timbre stands in two of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.random import Generator

from pegbox.audio import Wave
from pegbox.corpora.synthetic._espeak import Spoken, Synthesizer, Voice
from pegbox.corpora.synthetic._store import Split
from pegbox.corpora.synthetic._vary import RATE, Ranges, Recorded, record

ENGLISH: Final = ("en-us", "en", "en-gb-scotland", "en-gb-x-rp", "en-029", "en-gb-x-gbclan", "en-gb-x-gbcwmd")
# Without f2, f3, f5, Alicia, sandro and victor, whose sound differs from process to process.
VARIANTS: Final = (
    *("f1", "f4", "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "Alex", "Andrea", "Andy", "Annie", "Denis", "Gene"),
    *("Hugo", "Jacky", "Lee", "Marco", "Mario", "Michael", "Mike", "adam", "anika", "antonio", "aunty", "belinda"),
    *("benjamin", "boris", "caleb", "david", "ed", "edward", "gustave", "ian", "iven", "john", "klatt2", "klatt4"),
    *("linda", "max", "michel", "miguel", "norbert", "pablo", "paul", "pedro", "quincy", "rob", "robert", "shelby"),
    *("steph", "travis", "zac"),
)

MANY: Final[Mapping[Split, int]] = {"train": 28, "valid": 8, "test": 16}  # voices a split of a hard corpus


@dataclass(frozen=True)
class Speaker:
    """A person: a name, and how they speak on an average day."""

    name: str
    voice: Voice


class Studio:
    """Speaks as drawn speakers and records what they say; one a corpus, all draws in one order."""

    def __init__(self, seed: int, name: str) -> None:
        self.draw: Generator = np.random.default_rng([seed, *name.encode()])
        self.speech = Synthesizer()

    def cast(self, counts: Mapping[Split, int], languages: Sequence[str] = ENGLISH) -> dict[Split, list[Speaker]]:
        """Returns that many speakers a split, no two of them with one timbre."""
        timbres = iter(self.draw.permutation(VARIANTS).tolist())
        dealt: dict[Split, list[Speaker]] = {}
        for split, count in counts.items():
            dealt[split] = [self._speaker(next(timbres), str(self.draw.choice(languages))) for _ in range(count)]
        return dealt

    def say(self, text: str, voice: Voice, jitter: float = 0.08) -> Spoken:
        """Returns the text, rate, pitch and range moved by up to the share `jitter`: no voice is the same twice."""
        low, high = 1 - jitter, 1 + jitter
        changed = replace(
            voice,
            rate=int(np.clip(voice.rate * self.draw.uniform(low, high), 80, 320)),
            pitch=int(np.clip(voice.pitch * self.draw.uniform(low, high), 0, 99)),
            range=int(np.clip(voice.range * self.draw.uniform(low, high), 0, 99)),
        )
        return self.speech.say(text, changed)

    def voiced(self, text: str, voice: Voice) -> Wave:
        """Returns the text as spoken, from its first to its last sound."""
        spoken = self.say(text, voice)
        return spoken.wave[int(spoken.phonemes[0][1] * RATE) : int(spoken.phonemes[-1][2] * RATE)]

    def take(self, text: str, voice: Voice, ranges: Ranges) -> Recorded:
        """Returns the text as spoken and recorded."""
        return record(self.say(text, voice).wave, self.draw, ranges)

    def pick(self, choices: Sequence[str]) -> str:
        """Returns one of them."""
        return choices[int(self.draw.integers(len(choices)))]

    def _speaker(self, variant: str, language: str) -> Speaker:
        rate, pitch, range_ = (int(self.draw.integers(*ends)) for ends in ((130, 200), (25, 75), (30, 80)))
        return Speaker(variant, Voice(language, variant, rate, pitch, range_))
