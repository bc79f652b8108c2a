"""Whether a synthesis network can learn a recipe's clips, in which voice, and who may help: known before any weight."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import torch
from torch import Tensor

from pegbox.backbones import Speaker, Voice, outline_vocoder
from pegbox.errors import RecipeError
from pegbox.mel import Analysis
from pegbox.rows import Row, seconds
from pegbox.tasks import Asks, Speaks, Task, Vocodes, build
from pegbox.training.kept import recipe_of
from pegbox.training.script import Line, script_of
from pegbox.training.texts import Texts

OPTIONS: Final = {"verify": "synthesize(verifier=…)", "ctc": "synthesize(transcriber=…)"}


class Primer(Protocol):
    """What a network learns to speak from: units with times, or texts."""

    @property
    def analysis(self) -> Analysis:
        """How its frames are cut."""

    def said(self, row: Row, task: Task) -> str:
        """Returns what a recording says."""

    def check(self, row: Row, task: Task, frames: int) -> None:
        """Refuses a clip that it cannot learn, by its labels and the number of its frames."""

    def learnt(self, row: Row, task: Task, wave: np.ndarray) -> Line:  # (samples,)
        """Returns a clip as the network learns it."""

    def logarithms(self, mel: Tensor) -> Tensor:  # (time, bands)
        """Returns frames on the network's scale as natural logarithms."""

    def wave(self, mel: Tensor) -> np.ndarray:  # (time, bands) on the network's scale → (samples,)
        """Returns sound of frames, by Griffin-Lim."""


def primer_of(speaker: Speaker) -> Primer:
    """Returns what a network learns from."""
    return Texts(speaker) if speaker.lessons.reads == "text" else script_of(speaker)


def number_of(task: Speaks) -> int:
    """Returns the number of the voice that a task names, 0 while the nearest is unknown."""
    return task.voice if isinstance(task.voice, int) else 0


def voice_of(speaker: Speaker, task: Speaks) -> Voice:
    """Returns the voice that a task names: its number, or the embedding in its file, (width,).

    Raises:
        RecipeError: a voice that the network has not, no embedding where it wants one, or another than it wants.
    """
    voice = number_of(task)
    if voice >= speaker.voices:
        raise RecipeError(f"synthesize(voice={voice}): the network has {speaker.voices} voices, counted from 0")
    width, option = speaker.lessons.embedding(speaker.config), f"synthesize(embedding={task.embedding!r})"
    if not width and task.embedding:
        raise RecipeError(f"{option}: {speaker.family.name} has voices by number and takes no embedding; leave it out")
    if not width:
        return voice
    if not task.embedding:
        raise RecipeError(
            f"{speaker.family.name} is told its voice by {width} numbers, a speaker's embedding; name a .npy file with "
            'them, synthesize(embedding="voice.npy"): zeros are nobody\'s voice'
        )
    try:
        found = np.load(Path(task.embedding), allow_pickle=False)
    except (OSError, ValueError) as problem:
        raise RecipeError(f"{option}: no .npy file can be read here: {problem}") from None
    if found.size != width or not np.isfinite(found).all():
        raise RecipeError(f"{option}: it has shape {found.shape}; the network wants {width} finite numbers")
    return torch.from_numpy(found.astype(np.float32).reshape(-1))


def units(task: Task, splits: Mapping[str, Sequence[Row]], speaker: Speaker) -> tuple[str, ...]:
    """Returns the units of the training split, none of texts; refuses rows without the labels that are learnt."""
    labels = {split: [row.labels for row in part] for split, part in splits.items() if part}
    if isinstance(task, Speaks) and speaker.lessons.reads == "text":
        task.texts(labels)
        return ()
    return task.vocabulary(labels)


def check(rows: Sequence[Row], speaker: Speaker, task: Task) -> None:
    """Refuses rows that the network has no symbols for, a voice that it has not, and helpers that do not fit.

    Raises:
        CorpusError: naming the first clip with a strange unit or letter.
        RecipeError: the task is none of synthesis, or wants a voice that is not there.
    """
    if not isinstance(task, Speaks):
        raise RecipeError(
            f"{speaker.source}: {speaker.family.name} is a synthesis network: it reads text, not waveforms, and cannot "
            'be the encoder of a recipe; give it the task "synthesize"'
        )
    voice_of(speaker, task)
    if isinstance(task, Asks):
        _check_critics(rows, task)
    known = primer_of(speaker)
    if isinstance(task, Vocodes) and task.vocoder:
        _check_vocoder(task.vocoder, speaker)
    for row in rows:
        known.check(row, task, speaker.frames(round(seconds(row) * speaker.rate)))


def _check_critics(rows: Sequence[Row], task: Asks) -> None:
    """Refuses runs that are not there, or of other tasks, and test clips without the text that is to be understood."""
    for name, folder in task.critics.items():
        asked = build(recipe_of(folder, name, OPTIONS[name]).task)
        for row in rows if name == "ctc" else ():
            if row.split == "test":
                asked.truth(row.labels)


def _check_vocoder(source: str, speaker: Speaker) -> None:
    """Refuses a vocoder for other frames than the network makes; a rate that it does not say cannot be compared."""
    if speaker.lessons.sounds:
        raise RecipeError(f"synthesize(vocoder={source!r}): {speaker.family.name} makes sound by itself; leave it out")
    found, analysis = outline_vocoder(source), speaker.analysis
    told = {"Mel bands": (found.bands, analysis.bands), "samples a frame": (found.hop, analysis.hop)}
    told |= {"Hz": (found.rate, analysis.rate)} if found.rate else {}
    wrong = [f"{own} {what}, the network {other}" for what, (own, other) in told.items() if own != other]
    if wrong:
        raise RecipeError(f"synthesize(vocoder={source!r}): it has {'; '.join(wrong)}; name one for these frames")
