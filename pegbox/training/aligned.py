"""Times of units where a corpus has none: the frozen network says them, and dynamic time warping carries them over.

The network's speech has known borders. Its frames are paired with those of the recording by cepstra, loudness and how
both change; a unit begins where the recording's first frame of it lies. What was found is kept in the cache folder.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from rich.console import Console
from rich.progress import track
from torch import Tensor

from pegbox import audio
from pegbox import rows as rows_
from pegbox.backbones import Speaker
from pegbox.errors import CorpusError, RecipeError
from pegbox.mel import cepstra, warp
from pegbox.places import cache_folder
from pegbox.rows import Row
from pegbox.tasks import Aligns, Speaks, Task
from pegbox.training.casting import number_of
from pegbox.training.reading import Reader, parts
from pegbox.training.script import PAUSE, Script, Span, script_of


def aligned(rows: Sequence[Row], speaker: Speaker, task: Task, cache: str) -> list[Row]:
    """Returns rows of which those without `times` have them now, and their units; others are as they were.

    The network must be as it was loaded, without a method attached. `cache` is the folder of the recipe's cache, which
    keeps what has been found; empty is the user's.

    Raises:
        CorpusError: a clip cannot be read, has a text that cannot be, or units that the network has not learnt.
    """
    lacking = [row for row in rows if "times" not in row.labels]
    named = task.aligned_by if isinstance(task, Aligns) else None
    if not (lacking and named and isinstance(task, Speaks)):
        return list(rows)
    folder = Path(cache or cache_folder()) / "times"
    folder.mkdir(parents=True, exist_ok=True)
    voice = number_of(task)  # the nearest is not known before there are times
    path = folder / f"{speaker.digest}-{voice}.jsonl"
    with FileLock(path.with_suffix(".lock")):
        found = _fill(path, {row.id: _key(row, *named) for row in lacking}, lacking, _Aligner(speaker, voice, *named))
    return [replace(row, labels={**row.labels, **found[row.id]}) if row.id in found else row for row in rows]


def borders(said: Tensor, starts: np.ndarray, heard: Tensor) -> np.ndarray:  # (time, bands), (units,), (time', bands)
    """Returns the frames of a recording at which the units begin that begin at `starts` in what was said; (units,)."""
    one, other = (torch.from_numpy(_traits(each)) for each in (said, heard))
    here, there = warp(torch.cdist(one, other, compute_mode="donot_use_mm_for_euclid_dist").numpy())
    found: np.ndarray = np.append(there, len(heard))[np.searchsorted(here, starts)]
    return found


class _Aligner:
    """Finds the units of a clip and their times."""

    def __init__(self, speaker: Speaker, voice: int, label: str, text: str) -> None:
        self.speaker, self.voice, self.label, self.text = speaker, voice, label, text
        self.script: Script = script_of(speaker)
        self._reader: Reader | None = None  # eSpeak NG is not needed where units are known

    def labels(self, row: Row) -> dict[str, str]:
        """Returns the labels that a row lacks."""
        spans = self._spans(row, [PAUSE, *self._units(row), PAUSE])
        units = " ".join(unit for unit, _, _ in spans)
        return {self.label: units, "times": json.dumps(spans, ensure_ascii=False)}

    def _units(self, row: Row) -> list[str]:
        if self.label in row.labels:
            return row.labels[self.label].split()
        self._reader = self._reader or Reader(self.script)
        try:
            read = [self._reader.symbols(part) for part in parts(row.labels[self.text])]
        except RecipeError as problem:
            raise CorpusError(f"{row.id}: {problem}") from None
        return [unit for part in read for unit in (PAUSE, *part)]

    def _spans(self, row: Row, units: Sequence[str]) -> list[Span]:
        wave = rows_.wave(row, self.speaker.rate)
        units = [unit for n, unit in enumerate(units) if unit != PAUSE or units[n - 1 : n] != [PAUSE]]
        numbers = self.script.numbers(units, row.id).to(next(self.speaker.core.parameters()).device)
        said = self.speaker.speak(numbers, self.voice)
        assert said.frames is not None  # only networks that read units are asked
        mel, frames = said.x.cpu(), said.frames.cpu()
        if not len(mel):
            raise CorpusError(f"{row.id}: the network as it is says nothing for {' '.join(units)!r}; give its times")
        analysis, heard = self.script.analysis, self.script.analysis.log_mel(wave)
        places = borders(*_quiet(self.script.logarithms(mel), frames, units, heard), heard)
        moments = [round(min(place * analysis.seconds, len(wave) / analysis.rate), 4) for place in places.tolist()]
        whole = zip(units, moments, [*moments[1:], round(len(wave) / analysis.rate, 4)], strict=True)
        return [span for span in whole if span[0] != PAUSE]


def _quiet(said: Tensor, frames: Tensor, units: Sequence[str], heard: Tensor) -> tuple[Tensor, np.ndarray]:
    """Returns what was said with the recording's own silence for pauses, one frame more at both ends, and the frame at
    which each unit begins: a network that was taught clips cut close makes no pause there, and a room is never quite
    silent."""
    silence = heard[_loudness(heard).argsort()[: max(1, len(heard) // 20)]].mean(0)
    pause = torch.repeat_interleave(torch.tensor([unit == PAUSE for unit in units]), frames)
    inner = torch.where(pause[:, None], silence, said)
    ends = 1 + frames.cumsum(0)
    starts = torch.cat([torch.zeros(1, dtype=ends.dtype), ends[:-1]])
    return torch.cat([silence[None], inner, silence[None]]), starts.numpy()


def _loudness(log_mel: Tensor) -> Tensor:  # (time, bands) → (time,)
    return log_mel.double().exp().square().sum(1).log() / 2


def _traits(log_mel: Tensor) -> np.ndarray:  # (time, bands) → (time, 28)
    """Returns what voices have in common: cepstra without their mean, loudness below the loudest, and their slopes."""
    loud, shape = _loudness(log_mel), cepstra(log_mel)
    both = torch.cat([shape - shape.mean(0), 0.3 * (loud - loud.max()).clamp(min=-6)[:, None]], 1).numpy()
    slopes = np.gradient(both, axis=0) if len(both) > 1 else np.zeros_like(both)
    traits: np.ndarray = np.concatenate([both, 2 * slopes], 1)
    return traits


def _fill(path: Path, keys: Mapping[str, str], rows: Sequence[Row], aligner: _Aligner) -> dict[str, dict[str, str]]:
    """Returns the labels of all rows by id, adding to the file what it lacks, a clip a line."""
    known, console = _known(path), Console(stderr=True)
    missing = [row for row in rows if keys[row.id] not in known]
    with path.open("a", encoding="utf-8") as file:
        for row in track(missing, "times", console=console, transient=True, disable=not console.is_terminal):
            known[keys[row.id]] = aligner.labels(row)
            file.write(json.dumps([keys[row.id], known[keys[row.id]]], ensure_ascii=False) + "\n")
            file.flush()
    return {row.id: known[keys[row.id]] for row in rows}


def _known(path: Path) -> dict[str, dict[str, str]]:
    """Returns what the file holds; a last line that a kill has torn is cut off."""
    text = path.read_bytes() if path.exists() else b""
    whole = text[: text.rfind(b"\n") + 1]
    if len(whole) < len(text):
        path.write_bytes(whole)
    return dict(json.loads(line) for line in whole.decode().splitlines())


def _key(row: Row, label: str, text: str) -> str:
    """Returns the identity of a clip's sound and of what is said in it."""
    told = [audio.digest(row.audio), row.start, row.end, row.labels.get(label), row.labels.get(text)]
    return blake2b(json.dumps(told).encode(), digest_size=12).hexdigest()
