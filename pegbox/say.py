"""Any text as sound by a synthesis run, part by part: a network reads it itself, or what eSpeak NG makes of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import soundfile
from torch import Tensor

from pegbox.backbones import Speaker
from pegbox.errors import PegboxError, RecipeError
from pegbox.run import Run, open_model, speaking
from pegbox.tasks import Speaks
from pegbox.training.reading import Reader
from pegbox.training.script import script_of
from pegbox.training.texts import Texts

PAUSE: Final = 0.25  # seconds between two parts


@dataclass(frozen=True)
class Said:
    """Sound at `rate` Hz, and the parts of the text that were spoken one after another."""

    wave: np.ndarray  # (samples,)
    rate: int
    parts: tuple[str, ...]


def say(run: Run, text: str, backbone: str | None = None) -> Said:
    """Returns a text as a synthesis run's voice says it.

    A part ends at . ! ? ; : before a space, at the end of a line, and after `LONGEST` words; a pause follows. For a
    network that reads units, eSpeak NG reads out digits and signs in its language, and a phoneme that it has not learnt
    is spelt by those that it has, where it can be. One that reads texts is given them as they are.

    Raises:
        RecipeError: the run is none of synthesis, the text has nothing to say, or letters of another script than Latin
            where units are read.
        CorpusError: eSpeak NG is missing, or uses a phoneme that the network has never learnt; or a letter is one.
    """
    model = open_model(run, backbone)
    if not isinstance(model.task, Speaks):
        raise RecipeError(f"{run.folder}: this run hears and cannot speak; 'say' wants one of the task synthesize")
    lesson = speaking(model)
    reader = reader_of(lesson.speaker)
    found = list(reader.parts(text))
    waves = [lesson.say(reader.units(part)) for part in found]
    rate = lesson.speaker.rate
    silence = np.zeros(round(PAUSE * rate), np.float32)
    whole = [piece for wave in waves for piece in (wave, silence)][:-1]
    return Said(np.concatenate(whole).astype(np.float32), rate, tuple(found))


class Reads(Protocol):
    """What turns texts into what a network is told to say."""

    def parts(self, text: str) -> Iterator[str]:
        """Yields what is spoken in one breath."""

    def units(self, part: str) -> Tensor:  # (units,)
        """Returns what the network is told to say of it."""


def reader_of(speaker: Speaker) -> Reads:
    """Returns who reads texts for a network: its own tokenizer, or eSpeak NG."""
    return Texts(speaker) if speaker.lessons.reads == "text" else Reader(script_of(speaker))


def write(said: Said, out: Path) -> None:
    """Writes 16-bit sound; the file's suffix says the format."""
    try:
        soundfile.write(out, np.clip(said.wave, -1, 1), said.rate, subtype="PCM_16")
    except (OSError, TypeError, ValueError, soundfile.LibsndfileError) as problem:
        raise PegboxError(f"{out}: cannot be written ({problem}); choose another --out, such as out.wav") from None
