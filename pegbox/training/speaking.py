"""How a synthesis network is taught and judged: batches of what it reads and learns, and sound beside a recording."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from pegbox import places
from pegbox.backbones import Speaker, Spoken, Taught, Voice, load_vocoder, vocoder_digest
from pegbox.errors import RecipeError
from pegbox.mel import cepstra
from pegbox.rows import Row
from pegbox.tasks import Heard, Prediction, Speaks, Task, Vocodes
from pegbox.training.beside import Beside
from pegbox.training.casting import primer_of, voice_of
from pegbox.training.critics import Critics
from pegbox.training.feed import Feed
from pegbox.training.model import Tuned
from pegbox.training.script import Line
from pegbox.training.texts import Texts

SILENCE: Final = 1e-3  # amplitudes in a Mel band below it count as that in scores
_AUDITION: Final = 16  # training clips by which the nearest voice is found


class Speaking:
    """A network reads units or texts and makes speech. Features of a clip are made once and kept."""

    def __init__(self, model: Tuned, speaker: Speaker, feed: Feed) -> None:
        if not isinstance(model.task, Speaks):
            raise RecipeError(f"{type(model.task).__name__} cannot judge what a synthesis network says")
        self.model, self.task, self.speaker, self.feed = model, model.task, speaker, feed
        self.beside, self.primer = Beside(model.beside), primer_of(speaker)
        self.critics = Critics(model.task, self.beside)
        self._voice = voice_of(speaker, model.task)
        named = model.task.vocoder if isinstance(model.task, Vocodes) else ""
        self._vocoder = load_vocoder(named).to(self._device) if named else None
        self._lines: dict[str, Line] = {}
        self._note(named)

    def loss(self, group: Sequence[Row]) -> Tensor:
        """Returns the network's own loss, a scalar."""
        return self.speaker.loss(self._taught(group))

    def heard(self, group: Sequence[Row], with_loss: bool) -> tuple[list[Prediction], float]:
        """Returns one plain row a clip. A look in training judges Mel frames, the last one, without loss, sound."""
        with self.speaker.steady():
            loss = float(self.speaker.loss(self._taught(group))) * len(group) if with_loss else 0.0
        return [self._judged(row, sound=not with_loss) for row in group], loss

    def sound(self, row: Row) -> np.ndarray:  # (samples,)
        """Returns what the network says where a recording's units or text are given."""
        return self.say(self._line(row).units)

    def say(self, units: Tensor) -> np.ndarray:  # (units,) → (samples,)
        """Returns sound of what the network is told to say."""
        return self.wave(self._spoken(units).x)

    def copied(self, row: Row) -> np.ndarray:  # (samples,)
        """Returns a recording's own Mel frames as sound: what the vocoder costs."""
        return self._vocoded(self._line(row).mel)

    def wave(self, said: Tensor) -> np.ndarray:  # what the network says → (samples,)
        """Returns what a network says as sound: its own, or that of its Mel frames, (time, bands)."""
        if self.speaker.lessons.sounds:
            sound: np.ndarray = said.numpy()
            return sound
        return self._vocoded(said)

    def ears(self, wave: np.ndarray) -> Heard:
        """Returns what the scores of sound are made of."""
        analysis = self.primer.analysis
        return Heard(cepstra(self._audible(analysis.log_mel(wave))).numpy(), analysis.pitch(wave))

    def _judged(self, row: Row, sound: bool) -> Prediction:
        line, text = self._line(row), self.primer.said(row, self.task)
        drafted = self.speaker.lessons.draft is not None
        spoken = self._spoken(line.units) if sound or not drafted else None  # frame after frame costs most
        frames = self.speaker.draft(self._taught([row])).cpu() if spoken is None or drafted else spoken.x
        found: Prediction = {"id": row.id, "split": row.split, "true": text, "said": text}
        found |= self._timing(line, spoken)
        whole, true = self._logarithms(frames), self.primer.logarithms(line.mel)
        found |= self.task.distance(self._audible(whole), self._audible(true))
        if spoken is None or not sound:
            return found
        said = self.wave(spoken.x)
        found |= self.task.judge(self.ears(said), self.ears(self.feed.wave(row)))
        return found | (self.critics.hear(said, self.speaker.rate, row) if row.split == "test" else {})

    def _note(self, vocoder: str) -> None:
        """Notes what this run asks beside its network, or refuses what is another than before."""
        if self._vocoder is not None:
            self.beside.take("vocoder", vocoder_digest(self._vocoder), vocoder)
        if self.task.embedding:
            self.beside.take("embedding", places.digest(Path(self.task.embedding)), self.task.embedding)
        if isinstance(self.primer, Texts):
            self.beside.take("tokenizer", self.primer.digest, self.speaker.source)

    def _timing(self, line: Line, spoken: Spoken | None) -> Prediction:
        """Returns the mean difference of a unit's length in milliseconds, where both sides tell."""
        if line.frames is None or spoken is None or spoken.frames is None:
            return {}
        wrong = float((spoken.frames - line.frames).abs().float().mean())
        return {"duration_error": wrong * self.primer.analysis.seconds * 1000}

    def _logarithms(self, said: Tensor) -> Tensor:  # what the network says → (time, bands)
        if self.speaker.lessons.sounds:
            return self.primer.analysis.log_mel(said.numpy())
        return self.primer.logarithms(said)

    def _audible(self, log_mel: Tensor) -> Tensor:  # (time, bands)
        """Returns frames as scores see them: networks differ in what is silence to them."""
        return log_mel.clamp(min=math.log(SILENCE)) if self.primer.analysis.floor < SILENCE else log_mel

    @torch.no_grad()
    def _vocoded(self, mel: Tensor) -> np.ndarray:  # (time, bands) on the network's scale → (samples,)
        if self._vocoder is None:
            return self.primer.wave(mel.cpu())
        sound: np.ndarray = self._vocoder(mel.to(self._device)).cpu().numpy()
        return sound

    def _spoken(self, units: Tensor) -> Spoken:
        x, frames = self.speaker.speak(units.to(self._device), self._voice)
        return Spoken(x.cpu(), None if frames is None else frames.cpu())

    def _taught(self, group: Sequence[Row]) -> Taught:
        return _taught(self.speaker, [self._line(row) for row in group], self._voice)

    def _line(self, row: Row) -> Line:
        if row.id not in self._lines:
            self._lines[row.id] = self.primer.learnt(row, self.model.task, self.feed.wave(row))
        return self._lines[row.id]

    @property
    def _device(self) -> torch.device:
        return next(self.speaker.core.parameters()).device


@torch.no_grad()
def found_of(speaker: Speaker, task: Task, rows: Sequence[Row]) -> dict[str, int]:
    """Returns the task's options that are found before training: the voice of lowest loss on some training clips."""
    if not isinstance(task, Speaks) or isinstance(task.voice, int) or speaker.lessons.embedding(speaker.config):
        return {}
    if speaker.voices == 1:
        return {"voice": 0}
    primer, feed = primer_of(speaker), Feed(speaker, None)
    some = rows[:: max(1, len(rows) // _AUDITION)][:_AUDITION]
    lines = [primer.learnt(row, task, feed.wave(row)) for row in some]

    def misfit(voice: int) -> float:
        with speaker.steady():
            return sum(float(speaker.loss(_taught(speaker, [line], voice))) for line in lines)

    return {"voice": min(range(speaker.voices), key=misfit)}


def _taught(speaker: Speaker, lines: Sequence[Line], voice: Voice) -> Taught:
    device = next(speaker.core.parameters()).device

    def padded(name: str) -> Tensor:
        parts = [getattr(line, name) for line in lines]
        value = float("nan") if name in ("mel", "wave") else 0
        return pad_sequence(parts, batch_first=True, padding_value=value).to(device)

    counts = torch.tensor([len(line.units) for line in lines], device=device)
    learnt = {name: padded(name) for name in speaker.lessons.learns}
    return Taught(padded("units"), counts, voice, **learnt)
