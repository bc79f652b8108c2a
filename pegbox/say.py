"""Any text as sound by a synthesis run: eSpeak NG makes its phonemes, the network its Mel frames, part by part."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import soundfile

from pegbox.errors import PegboxError, RecipeError
from pegbox.run import Run, open_model, speaking
from pegbox.tasks import Speaks
from pegbox.training.reading import Reader, parts
from pegbox.training.speaking import Speaking

PAUSE: Final = 0.25  # seconds between two parts


@dataclass(frozen=True)
class Said:
    """Sound at `rate` Hz, and the parts of the text that were spoken one after another."""

    wave: np.ndarray  # (samples,)
    rate: int
    parts: tuple[str, ...]


def say(run: Run, text: str, backbone: str | None = None) -> Said:
    """Returns a text as a synthesis run's voice says it.

    Digits and signs are read out as eSpeak NG reads them in the network's language. A part ends at . ! ? ; : before a
    space, at the end of a line, and after `LONGEST` words; a pause follows. A phoneme that the network has not learnt
    is spelt by those that it has, where it can be.

    Raises:
        RecipeError: the run is none of synthesis, the text has nothing to say, or letters of another script than Latin.
        CorpusError: eSpeak NG is missing, or uses a phoneme that the network has never learnt.
    """
    found = list(parts(text))
    model = open_model(run, backbone)
    if not isinstance(model.task, Speaks):
        raise RecipeError(f"{run.folder}: this run hears and cannot speak; 'say' wants one of the task synthesize")
    lesson = speaking(model)
    reader = Reader(lesson.script)
    waves = [_spoken(lesson, reader, part) for part in found]
    rate = lesson.script.analysis.rate
    silence = np.zeros(round(PAUSE * rate), np.float32)
    whole = [piece for wave in waves for piece in (wave, silence)][:-1]
    return Said(np.concatenate(whole).astype(np.float32), rate, tuple(found))


def write(said: Said, out: Path) -> None:
    """Writes 16-bit sound; the file's suffix says the format."""
    try:
        soundfile.write(out, np.clip(said.wave, -1, 1), said.rate, subtype="PCM_16")
    except (OSError, TypeError, ValueError, soundfile.LibsndfileError) as problem:
        raise PegboxError(f"{out}: cannot be written ({problem}); choose another --out, such as out.wav") from None


def _spoken(lesson: Speaking, reader: Reader, part: str) -> np.ndarray:
    units = lesson.script.numbers(reader.units(part), repr(part))
    mel, _ = lesson.speaker.speak(units.to(next(lesson.speaker.core.parameters()).device), lesson.task.voice)
    return lesson.wave(mel)
