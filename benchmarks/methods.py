"""Every method with its default setting on real speech and sound: score, trained numbers, seconds an epoch, artefact.

`python benchmarks/methods.py --out runs/methods --shared DIR` does the runs of `methods.toml` with `pegbox bench` and
prints one table. Whisper tiny.en's encoder; digits of two speakers never heard in training (three seeds), and ESC-10
(its five folds). The step is chosen on validation, the test part is scored once. Seconds are those of a median step of
the first task, least over its seeds, times the steps of an epoch. What is finished in the folder is not run again.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any, Final

from pegbox.bench import matrix, recorded
from pegbox.bench.recorded import Recorded
from pegbox.demo import markdown

MATRIX: Final = Path(__file__).parent / "methods.toml"
SHARED: Final = Path(__file__).resolve().parents[2] / "shared"
TASKS: Final = ("digits", "ESC-10")
_UNKNOWN: Final = "–"


def main() -> None:
    """Does the runs and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--shared", type=Path, default=SHARED, help="folder with models/ and data/real/")
    parser.add_argument("--tasks", nargs="*", default=list(TASKS))
    parser.add_argument("--methods", nargs="*", default=list(matrix.read(MATRIX).methods))
    parser.add_argument("--workers", default="0")
    parser.add_argument("--only-cache", action="store_true", help="run nothing, print what is there")
    given = parser.parse_args()
    if not given.only_cache:
        words = ["--data", str(given.shared), *(word for method in given.methods for word in ("--method", method))]
        tasks = [word for task in given.tasks for word in ("--task", task)]
        _bench([*words, *tasks, "--workers", given.workers, "--out", str(given.out)])
    runs = list(_runs(given.out))
    head = ["method", *given.tasks, "trained in the backbone", "seconds an epoch", "artefact kB"]
    print(markdown(head, [_row(method, given.tasks, runs) for method in given.methods]))


def _bench(words: Sequence[str]) -> None:
    subprocess.run([sys.executable, "-m", "pegbox", "bench", str(MATRIX), *words], check=True)


def _runs(folder: Path) -> Iterator[Recorded]:
    for place in sorted(folder.glob("runs/*")):
        found = recorded.load(place, place.name) if (place / recorded.RESULT).exists() else None
        if found:
            yield found


def _row(method: str, tasks: Sequence[str], runs: Sequence[Recorded]) -> list[str]:
    own = [run for run in runs if run.cell.method == method]
    return [
        f"`{method}`",
        *(_score([run.score for run in own if run.cell.task == task]) for task in tasks),
        *(_sizes(own[0].result) if own else [_UNKNOWN]),
        _least([_epoch(run) for run in own if run.cell.task == tasks[0]]),
        *([f"{own[0].result['artefact_bytes'] / 1e3:,.0f}"] if own else [_UNKNOWN]),
    ]


def _score(scores: Sequence[float]) -> str:
    spread = f" ± {stdev(scores):.3f}" if len(scores) > 1 else ""
    return f"{fmean(scores):.3f}{spread} ({len(scores)})" if scores else _UNKNOWN


def _sizes(result: Mapping[str, Any]) -> list[str]:
    return [f"{result['parameters']['delta']:,} ({result['parameters']['share']:.2%})"]


def _least(seconds: Sequence[float]) -> str:
    return f"{min(seconds):.1f}" if seconds else _UNKNOWN


def _epoch(run: Recorded) -> float:
    """Returns the seconds of an epoch: a median step's, behind a first few that set up, times an epoch's steps."""
    events = [json.loads(line) for line in (run.folder / "log.jsonl").read_text().splitlines()]
    steps = [event["seconds"] for event in events if event["event"] == "step"]
    return median(steps[len(steps) // 4 :]) * -(-run.result["clips"]["train"] // run.settings["train"]["batch_clips"])


if __name__ == "__main__":
    main()
