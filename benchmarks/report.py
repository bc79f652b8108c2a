"""How long the report takes: `python benchmarks/report.py` writes 2,000 made-up runs and times the report on them.

Nothing is trained: the runs are folders as training leaves them, with drawn numbers, and are deleted afterwards. One
core; the page is opened by hand.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from pegbox.bench.report import Options, write
from pegbox.demo import markdown
from pegbox.recipe import dumps, make
from pegbox.surgery import save_tensors

TASKS: Final = {
    **{f"words {n}": ('classify(label="word")', "accuracy", "max") for n in range(1, 7)},
    **{f"texts {n}": ("ctc", "wer", "min") for n in range(1, 5)},
}
METHODS: Final = [f"lora(rank={rank})" for rank in range(1, 21)]
BACKBONES: Final = ("made-up/base", "made-up/large")
CLASSES: Final = [f"word {n}" for n in range(12)]
CLIPS: Final = 200
STEPS: Final = 400


def main() -> None:
    """Writes the runs, times the report, and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5, help="400 runs a seed")
    parser.add_argument("--out", type=Path, help="keep the report here")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        count = sum(1 for _ in _made(folder / "runs", given.seeds))
        begin, cpu = time.perf_counter(), time.process_time()
        page = write([folder], given.out or folder / "report", Options("Made-up runs", published="all"))[0]
        took, used = time.perf_counter() - begin, time.process_time() - cpu
        size = page.stat().st_size / 1e6
    head = ["runs, made up", "clips tested each", "seconds", "CPU seconds", "page MB"]
    print(markdown(head, [[str(count), str(CLIPS), f"{took:.1f}", f"{used:.1f}", f"{size:.1f}"]]))


def _made(folder: Path, seeds: int) -> Iterator[Path]:
    draw = np.random.default_rng(0)
    for number, (task, method, backbone, seed) in enumerate(product(TASKS, METHODS, BACKBONES, range(seeds))):
        place = folder / f"run-{number:04d}"
        place.mkdir(parents=True)
        _write(place, task, method, backbone, seed, draw)
        yield place


def _write(place: Path, task: str, method: str, backbone: str, seed: int, draw: np.random.Generator) -> None:
    spec, metric, better = TASKS[task]
    rank = int(method.partition("=")[2].rstrip(")"))
    rows = [_said(f"clip-{n}", metric == "wer", 0.7 + 0.01 * rank, draw) for n in range(CLIPS)]
    recipe = make(
        {"backbone": backbone, "method": method, "task": spec, "corpus": 'folder(root="made-up")', "seeds": [seed]}
    )
    cell = {"suite": "made up", "task": task, "backbone": backbone, "method": method, "seed": seed, "role": "final"}
    (place / "cell.json").write_text(json.dumps(cell))
    (place / "recipe.toml").write_text(dumps(recipe))
    (place / "predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (place / "result.json").write_text(json.dumps(_result(metric, better, rows, rank, seed)))
    (place / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in _log(metric, draw)))
    save_tensors(place / "delta.safetensors", {"layers": torch.from_numpy(draw.normal(size=13))}, {})


def _said(name: str, text: bool, right: float, draw: np.random.Generator) -> dict[str, Any]:
    words, others = ([CLASSES[n] for n in draw.integers(0, len(CLASSES), 8 if text else 1)] for _ in range(2))
    kept = draw.random(len(words)) < right
    said = [word if keep else other for word, other, keep in zip(words, others, kept, strict=True)]
    row = {"id": name, "true": " ".join(words), "said": " ".join(said)}
    return row if text else row | {"probabilities": dict.fromkeys(CLASSES, 1 / 12)}


def _result(metric: str, better: str, rows: list[dict[str, Any]], rank: int, seed: int) -> dict[str, Any]:
    if metric == "accuracy":
        score = sum(row["said"] == row["true"] for row in rows) / len(rows)
    else:
        from jiwer import wer

        score = float(wer([row["true"] for row in rows], [row["said"] for row in rows]))
    delta = 36_864 * rank
    return {
        "metric": metric,
        "better": better,
        "scores": {"test": {metric: score}},
        "seed": seed,
        "fold": None,
        "parameters": {"delta": delta, "layers": 13, "head": 200_000, "backbone": 94_000_000, "share": delta / 94e6},
        "seconds": {"train": 60.0 + rank, "test": 2.0},
        "clips": {"train": 1000, "valid": 0, "test": len(rows)},
        "artefact_bytes": 4 * delta,
        "steps": STEPS,
        "best_step": STEPS,
        "stopped": "done",
    }


def _log(metric: str, draw: np.random.Generator) -> Iterator[dict[str, Any]]:
    for step in range(1, STEPS + 1):
        yield {"event": "step", "step": step, "epoch": 0, "loss": 3.0 / step, "seconds": 0.1}
        if step % 20 == 0:
            score = float(draw.normal(0.8 * (1 - 1 / step), 0.01))
            yield {"event": "validated", "step": step, "loss": 3.0 / step, "valid_loss": 3.2 / step, metric: score}


if __name__ == "__main__":
    main()
