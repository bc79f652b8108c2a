"""What a synthesis network reads and learns: units with their frames, Mel frames, pitch and energy, on its scales."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from pegbox.backbones import Speaker
from pegbox.errors import CorpusError, WeightsError
from pegbox.mel import Analysis
from pegbox.rows import Row
from pegbox.tasks import Task

PAUSE: Final = "_"
Span = tuple[str, float, float]  # a unit, and where it begins and ends in seconds


@dataclass(frozen=True)
class Line:
    """One clip as a network learns it. Pitch and energy are means over a unit's frames, pitch over the voiced ones.

    A network that reads texts is told neither them nor `frames`, but the sound itself.
    """

    units: Tensor  # (units,) numbers of the symbols
    mel: Tensor  # (time, bands) on the network's scale
    wave: Tensor | None = None  # (samples,)
    frames: Tensor | None = None  # (units,) Mel frames of each
    pitch: Tensor | None = None  # (units, 1) on the network's scale, 0 where nothing is voiced
    energy: Tensor | None = None  # (units, 1) on the network's scale


@dataclass(frozen=True)
class Raw:
    """One clip before any scale: natural logarithms, pitch 0 where nothing is voiced."""

    symbols: tuple[str, ...]
    frames: Tensor  # (units,)
    mel: Tensor  # (time, bands)
    pitch: Tensor  # (units,)
    energy: Tensor  # (units,)


@dataclass(frozen=True)
class Script:
    """A checkpoint's symbols and scales, which its `preprocessor_config.json` holds."""

    symbols: tuple[str, ...]
    language: str
    analysis: Analysis
    mel: tuple[Tensor, Tensor]  # mean and deviation of each band, (bands,)
    pitch: tuple[float, float]  # of ln Hz
    energy: tuple[float, float]

    def numbers(self, symbols: Sequence[str], name: str) -> Tensor:  # (units,)
        """Returns the numbers of symbols; 0 is padding.

        Raises:
            CorpusError: symbols that the network has never learnt.
        """
        known = {symbol: number for number, symbol in enumerate(self.symbols, 1)}
        strange = sorted({symbol for symbol in symbols if symbol not in known})
        if strange:
            raise CorpusError(
                f"{name}: the network has no symbol for {', '.join(map(repr, strange))}; it knows {' '.join(known)}"
            )
        return torch.tensor([known[symbol] for symbol in symbols])

    def spelt(self, symbol: str) -> tuple[str, ...]:
        """Returns a symbol, or one that the network lacks as those that it knows, longest first: `aɪɚ` is `aɪ ɚ`.

        One that cannot be spelt so stays as it is, for `numbers` to refuse.
        """
        found, rest = list[str](), symbol
        while rest and symbol not in self.symbols:
            known = [each for each in self.symbols if rest.startswith(each)]
            if not known:
                return (symbol,)
            found.append(max(known, key=len))
            rest = rest.removeprefix(found[-1])
        return tuple(found) or (symbol,)

    def said(self, row: Row, task: Task) -> str:
        """Returns what a recording says: its units."""
        return task.truth(row.labels)

    def check(self, row: Row, task: Task, frames: int) -> None:
        """Refuses a clip whose units and times differ, or with units that the network has never learnt.

        One without times is aligned before it is taught.
        """
        if "times" in row.labels:
            said = self.said(row, task).split()
            timed = [unit for unit, _, _ in spans(row.labels["times"], row.id)]
            if said != timed:
                raise CorpusError(f"{row.id}: its units are {' '.join(said)!r}, those of 'times' {' '.join(timed)!r}")
            self.numbers(timed, row.id)

    def learnt(self, row: Row, task: Task, wave: np.ndarray) -> Line:  # (samples,)
        """Returns a clip with its times as the network learns it."""
        return self.line(raw(wave, spans(row.labels["times"], row.id), self.analysis, row.id), row.id)

    def line(self, raw: Raw, name: str) -> Line:
        """Returns a clip on the network's scales."""
        pitch = torch.where(raw.pitch > 0, (raw.pitch - self.pitch[0]) / self.pitch[1], 0.0)
        energy = (raw.energy - self.energy[0]) / self.energy[1]
        mel = (raw.mel - self.mel[0]) / self.mel[1]
        units = self.numbers(raw.symbols, name)
        return Line(units, mel, None, raw.frames, pitch[:, None], energy[:, None])

    def logarithms(self, mel: Tensor) -> Tensor:  # (time, bands)
        """Returns frames on the network's scale as natural logarithms."""
        return mel * self.mel[1] + self.mel[0]

    def wave(self, mel: Tensor) -> np.ndarray:  # (time, bands) on the network's scale → (samples,)
        """Returns sound of frames that the network made."""
        return self.analysis.wave(self.logarithms(mel))


def scaled(found: Sequence[Raw], symbols: tuple[str, ...], language: str, analysis: Analysis) -> Script:
    """Returns symbols with the scales of clips: means and deviations of frames by band, of voiced pitch, of energy."""
    mel = torch.cat([clip.mel for clip in found])
    pitch = torch.cat([clip.pitch[clip.pitch > 0] for clip in found])
    energy = torch.cat([clip.energy for clip in found])
    pairs = [(float(each.mean()), float(each.std())) for each in (pitch, energy)]
    return Script(symbols, language, analysis, (mel.mean(0), mel.std(0)), *pairs)


def told(script: Script) -> dict[str, Any]:
    """Returns the input settings of a checkpoint that `read` reads."""
    return {
        "sampling_rate": script.analysis.rate,
        "symbols": script.symbols,
        "language": script.language,
        "analysis": asdict(script.analysis),
        "mel": [[round(number, 5) for number in each.tolist()] for each in script.mel],
        "pitch": script.pitch,
        "energy": script.energy,
    }


def script_of(speaker: Speaker) -> Script:
    """Returns the symbols and scales of a network that reads units."""
    return read(speaker.front_settings.settings, speaker.source)


def read(settings: Mapping[str, Any], source: str) -> Script:
    """Returns the script of a checkpoint's input settings.

    Raises:
        WeightsError: the checkpoint does not say what its symbols and scales are.
    """
    wanted = ("symbols", "language", "analysis", "mel", "pitch", "energy")
    missing = [name for name in wanted if name not in settings]
    if missing:
        raise WeightsError(
            f"{source}: preprocessor_config.json lacks {', '.join(missing)}: what the network's symbols and scales "
            "are; write them as recipes/voice does"
        )
    mean, deviation = (torch.tensor(each) for each in settings["mel"])
    pitch, energy = ((float(a), float(b)) for a, b in (settings["pitch"], settings["energy"]))
    analysis = Analysis(**settings["analysis"])
    return Script(tuple(settings["symbols"]), settings["language"], analysis, (mean, deviation), pitch, energy)


def spans(times: str, name: str) -> list[Span]:
    """Returns the units of a `times` label, which is JSON: [unit, start, end] in seconds, in order."""
    try:
        found = [(str(unit), float(start), float(end)) for unit, start, end in json.loads(times)]
    except (ValueError, TypeError):
        raise CorpusError(
            f"{name}: 'times' is JSON, [[unit, start, end], …] in seconds; found {times[:60]!r}"
        ) from None
    ends = [moment for _, *pair in found for moment in pair]
    if not found or ends != sorted(ends) or ends[0] < 0:
        raise CorpusError(f"{name}: 'times' must hold units one after another, from 0 seconds on")
    return found


def paused(found: Sequence[Span], length: float, least: float) -> list[Span]:
    """Returns spans that fill a clip of `length` seconds: what lies between two, at least `least` seconds, is a pause.

    A shorter gap belongs to the unit before it.
    """
    whole, at = list[Span](), 0.0
    for unit, start, end in (*found, ("", length, length)):
        if start - at >= least or (not whole and start > at):
            whole.append((PAUSE, at, start))
        elif whole:
            whole[-1] = (whole[-1][0], whole[-1][1], start)
        if unit:
            whole.append((unit, start, end))
        at = max(at, end)
    return whole


def raw(wave: np.ndarray, found: Sequence[Span], analysis: Analysis, name: str) -> Raw:
    """Returns a recording's features by unit; frames are dealt out by rounding the units' ends.

    Raises:
        CorpusError: the units end behind the recording.
    """
    length = len(wave) / analysis.rate
    if found[-1][2] > length + analysis.seconds:
        raise CorpusError(f"{name}: 'times' end at {found[-1][2]:.3f} s in a clip of {length:.3f} s; correct them")
    whole = paused(found, length, 2 * analysis.seconds)
    mel, hertz = analysis.log_mel(wave), torch.from_numpy(analysis.pitch(wave)).float()
    ends = torch.tensor([min(round(end / analysis.seconds), len(mel)) for _, _, end in whole[:-1]] + [len(mel)])
    frames = torch.diff(ends, prepend=torch.zeros(1, dtype=ends.dtype))
    voiced = (hertz > 0).float()
    loud = mel.exp().square().sum(1).log() / 2
    pitch = _means(hertz.clamp(min=1).log() * voiced, frames) / _means(voiced, frames).clamp(min=1e-6)
    return Raw(tuple(unit for unit, _, _ in whole), frames, mel, pitch, _means(loud, frames))


def _means(values: Tensor, frames: Tensor) -> Tensor:  # (time,), (units,) → (units,)
    """Returns the mean over each unit's frames, 0 where it has none."""
    which = torch.repeat_interleave(torch.arange(len(frames)), frames)
    return torch.zeros(len(frames)).index_add_(0, which, values) / frames.clamp(min=1)
