"""What one run's files show: evidence, curve, layer weights, confusions, worst clips, importance, what it has said."""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from safetensors import SafetensorError, safe_open

from pegbox import places, registry
from pegbox.bench import evidence
from pegbox.bench.evidence import Evidence
from pegbox.bench.recorded import Recorded, number
from pegbox.bench.report.read import predictions

MOST_CLASSES: Final = 60
MOST_POINTS: Final = 60
WORST: Final = 6
_LONGEST: Final = 160  # characters of a text that is shown


@dataclass(frozen=True)
class Clip:
    """A clip with what was said of it, and how wrong that is: from 0 to 1, more where texts are longer than theirs."""

    id: str
    true: str
    said: str
    wrong: float


@dataclass(frozen=True)
class Sample:
    """A test clip as a synthesis run has said it, and its recording; `heard` is what a transcriber understood."""

    id: str
    true: str
    heard: str
    said: Path
    reference: Path


@dataclass(frozen=True)
class Point:
    """One validation: step, training loss, validation loss and score."""

    step: int
    loss: float
    valid_loss: float
    score: float


@dataclass(frozen=True)
class Seen:
    """All of it; what a run has no files for is empty, and `notes` says why where that matters."""

    evidence: Evidence | None
    curve: tuple[Point, ...]
    layers: tuple[float, ...]
    confusion: Mapping[tuple[str, str], int]  # (true, said) → clips
    worst: tuple[Clip, ...]
    importance: Mapping[str, Any]
    samples: tuple[Sample, ...]
    notes: tuple[str, ...]


def look(run: Recorded) -> Seen:
    """Reads a run's files; one that is missing or broken costs its part of the report and a note."""
    rows = predictions(run)
    notes = [] if rows else [f"{run.name}: predictions are missing or do not fit the clips; no interval"]
    rows = rows or []
    return Seen(
        evidence=evidence_of(run, rows) if rows and math.isfinite(run.score) else None,
        curve=curve(run),
        layers=_layers(run),
        confusion=_confusion(run, rows),
        worst=_worst(run, rows),
        importance=_importance(run),
        samples=_samples(run, rows),
        notes=tuple(notes),
    )


def curve(run: Recorded) -> tuple[Point, ...]:
    """Returns the validations of a run's log, of very many evenly some; a line that an interruption cut is left out."""
    path = run.folder / "log.jsonl"
    lines = path.read_text(encoding="utf-8").split("\n")[:-1] if path.is_file() else []
    try:
        rows = [json.loads(line) for line in lines if line.startswith('{"event": "validated"')]
    except ValueError:
        return ()
    step = max(1, math.ceil(len(rows) / MOST_POINTS))
    kept = rows[::-1][::step][::-1]  # the last one always
    return tuple(
        Point(int(row["step"]), *(number(row.get(key)) for key in ("loss", "valid_loss", run.metric))) for row in kept
    )


def evidence_of(run: Recorded, rows: Sequence[Mapping[str, Any]]) -> Evidence:
    """Returns the evidence of a run's score, which is a finite number, in these predictions."""
    return evidence.evidence(run.metric, rows, run.score, lambda: _task(run))


def wrongness(run: Recorded, row: Mapping[str, Any]) -> float | None:
    """Returns how wrong a row is, or None where rows of this task are neither right nor wrong by themselves."""
    chances = row.get("probabilities")
    if chances is not None and row["true"] in chances:
        return 1.0 - float(chances[row["true"]])
    parts = evidence.summands(run.metric, row)
    if parts is None:
        return None
    wrong = 1 - parts[0] if run.better == "max" else parts[0] / max(parts[1], 1)
    return float(wrong)


def _task(run: Recorded) -> Any:
    """Returns the run's task; only scores without a quick way need it, and with it torch."""
    return registry.build("tasks", registry.parse(run.settings["task"], "task")[0], "task")


def _layers(run: Recorded) -> tuple[float, ...]:
    """Returns the softmax of the weights of the layer sum, where the run has learnt them."""
    path = run.folder / "delta.safetensors"
    if not path.is_file():
        return ()
    try:
        with safe_open(path, "numpy") as file:
            raw = file.get_tensor("layers").astype(np.float64) if "layers" in set(file.keys()) else np.zeros(0)
    except SafetensorError:
        return ()
    risen = np.exp(raw - raw.max()) if len(raw) else raw
    return tuple((risen / risen.sum()).tolist()) if len(raw) else ()


def _confusion(run: Recorded, rows: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], int]:
    if registry.parse(run.settings["task"])[0].name != "classify":
        return {}
    counted = Counter((str(row["true"]), str(row["said"])) for row in rows)
    return dict(counted) if len({name for pair in counted for name in pair}) <= MOST_CLASSES else {}


def _worst(run: Recorded, rows: Sequence[Mapping[str, Any]]) -> tuple[Clip, ...]:
    judged = [(wrongness(run, row), row) for row in rows]
    known = sorted(((wrong, str(row["id"]), row) for wrong, row in judged if wrong is not None), key=lambda e: e[:2])
    worst = [(wrong, row) for wrong, _, row in reversed(known[-WORST:]) if row["said"] != row["true"]]
    return tuple(Clip(str(r["id"]), _cut(str(r["true"])), _cut(str(r["said"])), wrong) for wrong, r in worst)


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _importance(run: Recorded) -> dict[str, Any]:
    path = run.folder / "importance.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _samples(run: Recorded, rows: Sequence[Mapping[str, Any]]) -> tuple[Sample, ...]:
    """Returns the clips of which sound and recording lie in the run's `samples`, in the order of its predictions."""
    found = []
    for row in rows:
        said, reference = places.samples(run.folder, str(row["id"]))
        if said.is_file() and reference.is_file():
            texts = (_cut(str(row["true"])), _cut(str(row.get("heard", ""))))
            found.append(Sample(str(row["id"]), *texts, said, reference))
    return tuple(found)
