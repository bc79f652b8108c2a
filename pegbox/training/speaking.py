"""How a synthesis network is taught and judged: batches of units with their frames, and sound beside a recording."""

from collections.abc import Sequence
from typing import Final, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from pegbox.backbones import Speaker, Taught, load_vocoder, outline_vocoder
from pegbox.errors import CorpusError, RecipeError
from pegbox.mel import cepstra
from pegbox.rows import Row
from pegbox.tasks import Asks, Heard, Prediction, Speaks, Task, Vocodes, build
from pegbox.training import script
from pegbox.training.feed import Feed
from pegbox.training.kept import recipe_of
from pegbox.training.model import Tuned
from pegbox.training.script import Line, Script

OPTIONS: Final = {"verify": "synthesize(verifier=…)", "ctc": "synthesize(transcriber=…)"}


class Hear(Protocol):
    """What else is asked about sound."""

    def hear(self, said: np.ndarray, rate: int, row: Row) -> Prediction:
        """Returns what is told of sound that is meant to be a row's."""


class Speaking:
    """A network reads units and makes Mel frames. Features of a clip are made once and kept."""

    def __init__(self, model: Tuned, speaker: Speaker, feed: Feed, critics: Hear) -> None:
        if not isinstance(model.task, Speaks):
            raise RecipeError(f"{type(model.task).__name__} cannot judge what a synthesis network says")
        self.model, self.task, self.speaker, self.feed = model, model.task, speaker, feed
        self.critics, self.script = critics, script_of(speaker)
        named = model.task.vocoder if isinstance(model.task, Vocodes) else ""
        self._vocoder = load_vocoder(named).to(self._device) if named else None
        self._lines: dict[str, Line] = {}

    def loss(self, group: Sequence[Row]) -> Tensor:
        """Returns the network's own loss, a scalar."""
        return self.speaker.loss(self._taught(group))

    def heard(self, group: Sequence[Row], with_loss: bool) -> tuple[list[Prediction], float]:
        """Returns one plain row a clip. A look in training judges Mel frames, the last one, without loss, sound."""
        loss = float(self.speaker.loss(self._taught(group))) * len(group) if with_loss else 0.0
        return [self._judged(row, sound=not with_loss) for row in group], loss

    def sound(self, row: Row) -> np.ndarray:  # (samples,)
        """Returns what the network says where a recording's units are given."""
        return self.wave(self._spoken(row)[0])

    def copied(self, row: Row) -> np.ndarray:  # (samples,)
        """Returns a recording's own Mel frames as sound: what the vocoder costs."""
        return self.wave(self._line(row).mel)

    @torch.no_grad()
    def wave(self, mel: Tensor) -> np.ndarray:  # (time, bands) on the network's scale → (samples,)
        """Returns sound of frames, by the task's vocoder or by Griffin-Lim."""
        if self._vocoder is None:
            return self.script.wave(mel.cpu())
        sound: np.ndarray = self._vocoder(mel.to(self._device)).cpu().numpy()
        return sound

    def _judged(self, row: Row, sound: bool) -> Prediction:
        line, task = self._line(row), self.task
        mel, frames = self._spoken(row)
        whole, true = (self.script.logarithms(each) for each in (mel, line.mel))
        wrong = float((frames - line.frames).abs().float().mean()) * self.script.analysis.seconds * 1000
        units = self.model.task.truth(row.labels)
        found = {"id": row.id, "split": row.split, "true": units, "said": units, "duration_error": wrong}
        found |= task.distance(whole, true)
        if not sound:
            return found
        said = self.wave(mel)
        found |= task.judge(self.ears(said), self.ears(self.feed.wave(row)))
        return found | (self.critics.hear(said, self.speaker.rate, row) if row.split == "test" else {})

    def ears(self, wave: np.ndarray) -> Heard:
        """Returns what the scores of sound are made of."""
        analysis = self.script.analysis
        return Heard(cepstra(analysis.log_mel(wave)).numpy(), analysis.pitch(wave))

    def _spoken(self, row: Row) -> tuple[Tensor, Tensor]:
        mel, frames = self.speaker.speak(self._line(row).units.to(self._device), self.task.voice)
        return mel.cpu(), frames.cpu()

    def _taught(self, group: Sequence[Row]) -> Taught:
        lines = [self._line(row) for row in group]

        def padded(name: str, value: float = 0) -> Tensor:
            parts = [getattr(line, name) for line in lines]
            return pad_sequence(parts, batch_first=True, padding_value=value).to(self._device)

        mel = padded("mel", float("nan"))
        return Taught(padded("units"), padded("frames"), mel, padded("pitch"), padded("energy"), self.task.voice)

    def _line(self, row: Row) -> Line:
        if row.id not in self._lines:
            spans = script.spans(row.labels["times"], row.id)
            found = script.raw(self.feed.wave(row), spans, self.script.analysis, row.id)
            self._lines[row.id] = self.script.line(found, row.id)
        return self._lines[row.id]

    @property
    def _device(self) -> torch.device:
        return next(self.speaker.core.parameters()).device


def script_of(speaker: Speaker) -> Script:
    """Returns the symbols and scales of a network."""
    return script.read(speaker.front_settings.settings, speaker.source)


def check(rows: Sequence[Row], speaker: Speaker, task: Task) -> None:
    """Refuses rows whose units the network has no symbol for, and a voice that it has not.

    Raises:
        CorpusError: naming the first clip with a strange unit.
        RecipeError: the task is none of synthesis, or wants a voice that is not there.
    """
    if not isinstance(task, Speaks):
        raise RecipeError(
            f"{speaker.source}: {speaker.family.name} is a synthesis network: it reads text, not waveforms, and cannot "
            'be the encoder of a recipe; give it the task "synthesize"'
        )
    if task.voice >= speaker.voices:
        raise RecipeError(f"synthesize(voice={task.voice}): the network has {speaker.voices} voices, counted from 0")
    if isinstance(task, Asks):
        _check_critics(rows, task)
    known = script_of(speaker)
    if isinstance(task, Vocodes) and task.vocoder:
        _check_vocoder(task.vocoder, known)
    for row in (row for row in rows if "times" in row.labels):  # the others are aligned before they are taught
        said = task.truth(row.labels).split()
        timed = [unit for unit, _, _ in script.spans(row.labels["times"], row.id)]
        if said != timed:
            raise CorpusError(f"{row.id}: its units are {' '.join(said)!r}, those of 'times' {' '.join(timed)!r}")
        known.numbers(timed, row.id)


def _check_critics(rows: Sequence[Row], task: Asks) -> None:
    """Refuses runs that are not there, or of other tasks, and test clips without the text that is to be understood."""
    for name, folder in task.critics.items():
        asked = build(recipe_of(folder, name, OPTIONS[name]).task)
        for row in rows if name == "ctc" else ():
            if row.split == "test":
                asked.truth(row.labels)


def _check_vocoder(source: str, known: Script) -> None:
    """Refuses a vocoder for other frames than the network makes; a rate that it does not say cannot be compared."""
    found, analysis = outline_vocoder(source), known.analysis
    told = {"Mel bands": (found.bands, analysis.bands), "samples a frame": (found.hop, analysis.hop)}
    told |= {"Hz": (found.rate, analysis.rate)} if found.rate else {}
    wrong = [f"{own} {what}, the network {other}" for what, (own, other) in told.items() if own != other]
    if wrong:
        raise RecipeError(f"synthesize(vocoder={source!r}): it has {'; '.join(wrong)}; name one for these frames")
