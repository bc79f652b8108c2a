"""Do the synthetic corpora rank methods? `python benchmarks/synthetic.py --out runs/synthetic` prints a table.

The `tiny` encoder and several methods, each on three drawn corpora a task (a seed each); the step is chosen
on validation, the test part (other voices, another fold, or other clips) is scored once. Mean and deviation over them.
"""

import argparse
import sys
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Final

from pegbox.demo import Job, markdown, run_job

METHODS: Final = ("linear_probe", "weighted_sum", "bitfit", "lora(rank=8)", "bottleneck(size=32)")
TASKS: Final[dict[str, tuple[str, str]]] = {
    "speakers": ('classify(label="voice")', "synthetic_speakers(seed={}, size='{}')"),
    "intents": ('classify(label="intent")', "synthetic_intents(seed={}, size='{}')"),
    "sounds": ('classify(label="event")', "synthetic_sounds(seed={}, size='{}')"),
    "emotions": ('classify(label="emotion")', "synthetic_emotions(seed={}, size='{}')"),
    "keywords": ('classify(label="word")', "synthetic_keywords(seed={}, size='{}')"),
    "music": ('classify(label="genre")', "synthetic_music(seed={}, size='{}')"),
}


def main() -> None:
    """Runs what is not finished in the folder, and prints the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--out", type=Path, required=True, help="keep the runs here (what is finished is not run again)"
    )
    parser.add_argument("--tasks", nargs="*", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--methods", nargs="*", default=list(METHODS))
    parser.add_argument("--size", default="small", choices=["small", "medium"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=12, help="of methods with edits; probes take five times as many")
    given = parser.parse_args()
    lines = []
    for name in given.tasks:
        scores = [[_run(given, name, method, seed) for seed in range(given.seeds)] for method in given.methods]
        lines.append([name, *(f"{fmean(each):.3f} ± {stdev(each):.3f}" for each in scores)])
        print(" | ".join(lines[-1]), file=sys.stderr)
    print(markdown(["task", *(f"`{method}`" for method in given.methods)], lines))


def _run(given: argparse.Namespace, name: str, method: str, seed: int) -> float:
    task, corpus = TASKS[name]
    epochs = 5 * given.epochs if method in METHODS[:2] else given.epochs
    settings: dict[str, Any] = {
        "backbone": "tiny",
        "method": method,
        "task": task,
        "corpus": corpus.format(seed, given.size),
        "seeds": [seed],
        "train": {"epochs": epochs},
    }
    result = run_job(Job(f"{name}-{given.size}-{seed}", settings), given.out)
    return float(result["scores"]["test"][result["metric"]])


if __name__ == "__main__":
    main()
