"""Run folders as training leaves them, written by hand: what tests of reports and comparisons read."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from safetensors.numpy import save_file

Said = Sequence[tuple[str, str]]  # what was true and what was said, a clip each
WORDS: Said = [("yes", "yes"), ("yes", "no"), ("no", "no"), ("no", "no"), ("up", "up"), ("up", "yes")] * 5
RECIPE = """backbone = {backbone}
method = {method}
task = {task}
corpus = {corpus}
seeds = [{seed}]

[train]
epochs = {epochs}
"""


def accuracy(said: Said) -> float:
    """Returns the share of clips that are right."""
    return sum(true == heard for true, heard in said) / len(said)


def record(
    folder: Path,
    said: Said = WORDS,
    *,
    method: str = "lora(rank=8)",
    seed: int = 0,
    score: float | None = None,
    scores: dict[str, float] | None = None,
    metric: str = "accuracy",
    task: str = 'classify(label="word")',
    cell: dict[str, Any] | None = None,
    backbone: str = "made-up/base",
    epochs: int = 3,
    delta: int = 1000,
    seconds: float = 10.0,
) -> Path:
    """Writes one finished trial; `score` is the recorded one where it is not the accuracy."""
    folder.mkdir(parents=True)
    value = accuracy(said) if score is None else score
    result = {
        "method": method,
        "seed": seed,
        "fold": None,
        "metric": metric,
        "better": "min" if metric in ("wer", "eer", "mel_mcd") else "max",
        "scores": {"test": scores or {metric: value}},
        "parameters": {"delta": delta, "layers": 3, "head": 50, "backbone": 100_000, "share": delta / 100_000},
        "seconds": {"train": seconds, "test": 1.0},
        "clips": {"train": 10, "valid": 0, "test": len(said)},
        "steps": 20,
        "best_step": 20,
        "artefact_bytes": 4 * delta,
    }
    told = {"backbone": backbone, "method": method, "task": task, "corpus": 'folder(root="clips")'}
    quoted = {key: json.dumps(value) for key, value in told.items()}
    (folder / "recipe.toml").write_text(RECIPE.format(**quoted, seed=seed, epochs=epochs))
    (folder / "result.json").write_text(json.dumps(result))
    rows = [{"id": f"clip {n}", "true": true, "said": heard} for n, (true, heard) in enumerate(said)]
    (folder / "predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    log = [
        {"event": "validated", "step": step, "loss": 1 / step, "valid_loss": 2 / step, metric: value * step / 20}
        for step in (10, 20)
    ]
    (folder / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in log))
    save_file({"layers": np.array([0.0, 1.0, 2.0])}, folder / "delta.safetensors")
    if cell is not None:
        place = {"suite": "toy", "task": "ks", "backbone": backbone, "method": method, "seed": seed, "fold": None}
        (folder / "cell.json").write_text(json.dumps(place | {"rate": 1.0, "role": "final"} | cell))
    return folder


def speak(folder: Path, method: str = "lora(rank=8)", **changes: Any) -> Path:
    """Writes a run of synthesis with samples of two of its four clips."""
    told: dict[str, Any] = {"metric": "mel_mcd", "score": 5.0, "task": "synthesize", "method": method}
    record(folder, [("a b", "a b")] * 4, **told, **changes)
    rows = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
    rows = [row | {"mel_mcd": 5.0} for row in rows]
    rows[1] |= {"id": "talk/1", "heard": "a"}
    (folder / "predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "samples").mkdir()
    for name in ("clip 0", "talk-1"):
        for kind in ("said", "reference"):
            wave = 0.1 * np.random.default_rng(len(method)).standard_normal(4_000)
            soundfile.write(folder / "samples" / f"{name}-{kind}.wav", wave, 16_000)
    return folder


def fail(folder: Path, kind: str = "NonFiniteError", message: str = "the loss is nan") -> Path:
    """Writes a run that ended with an error."""
    folder.mkdir(parents=True)
    (folder / "error.json").write_text(json.dumps({"kind": kind, "message": message}))
    return folder
