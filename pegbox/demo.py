"""The main job on real speech: digits of two speakers never heard in training, by several methods, as one table.

`python -m pegbox.demo` is what `make demo` runs; `--out` keeps the runs, `--full` adds the slow baseline and the folds.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pegbox.errors import PegboxError, RecipeError

SHARED: Final = Path(__file__).resolve().parents[2] / "shared"


@dataclass(frozen=True)
class Job:
    """One row of the table."""

    name: str
    settings: dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the jobs and prints the table as Markdown; returns the exit code."""
    parser = argparse.ArgumentParser(prog="pegbox.demo", description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--shared", type=Path, default=SHARED, help="folder with models/ and data/")
    parser.add_argument("--out", type=Path, help="keep the runs here (an interrupted demo goes on)")
    parser.add_argument("--full", action="store_true", help="every method, full tuning, and ESC-10 in five folds")
    given = parser.parse_args(arguments)
    try:
        _check(given.shared)
        with tempfile.TemporaryDirectory() as scratch:
            rows = [_run(job, given.out or Path(scratch)) for job in jobs(given.shared, given.full)]
    except PegboxError as problem:
        print(f"pegbox.demo: {problem}", file=sys.stderr)
        return problem.exit_code
    print("\n".join(_table(rows)))
    return 0


def jobs(shared: Path, full: bool) -> list[Job]:
    """Returns what the demo runs, quick jobs first."""
    digits = {
        "backbone": str(shared / "models" / "whisper-tiny-en-encoder"),
        "task": 'classify(label="word")',
        "corpus": f'fsdd(root="{shared}/data/real/fsdd", test_speakers=["lucas", "yweweler"])',
        "seeds": [0, 1, 2],
    }
    probe = {"epochs": 100, "validate_epochs": 4}
    tuned = {"epochs": 8}
    listed = [
        Job("digits", digits | {"method": "linear_probe", "train": probe}),
        Job("digits", digits | {"method": "weighted_sum", "train": probe}),
        Job("digits", digits | {"method": "lora(rank=8)", "train": tuned}),
        Job("digits", digits | {"method": "bottleneck(size=32)", "train": tuned}),
    ]
    if not full:
        return listed
    sounds = {
        "backbone": digits["backbone"],
        "task": 'classify(label="event")',
        "corpus": f'esc10(root="{shared}/data/real/esc10")',
        "folds": [1, 2, 3, 4, 5],
        "train": {"epochs": 20, "validate_epochs": 2},
    }
    return [
        *listed,
        Job("digits", digits | {"method": "bitfit", "train": tuned}),
        Job("digits", digits | {"method": "full", "train": tuned}),
        *(Job("ESC-10", sounds | {"method": method}) for method in ("weighted_sum", "lora(rank=8)", "full")),
    ]


def _check(shared: Path) -> None:
    for place in (shared / "models" / "whisper-tiny-en-encoder" / "config.json", shared / "data" / "real" / "fsdd"):
        if not place.exists():
            raise RecipeError(
                f"{place}: not here. The demo needs a pretrained encoder and recordings, which are not part of the "
                "project; say where they lie with --shared DIR (models/whisper-tiny-en-encoder, data/real/fsdd), or "
                "run 'pegbox train' on a backbone and a corpus of your own"
            )


def _run(job: Job, folder: Path) -> list[str]:
    from pegbox import run
    from pegbox.progress import Display, read_result

    out = folder / f"{job.name}-{job.settings['method'].partition('(')[0]}"
    print(f"{job.name}: {job.settings['method']}", file=sys.stderr)
    if not (out / "result.json").exists():
        with Display() as display:
            run.train(job.settings, out, display.listen)
    result = read_result(out)
    test, spread, sizes = result["mean"]["test"], result["deviation"]["test"], result["parameters"]
    minutes = sum(value for name, value in result["seconds"].items() if name != "load") / 60 / len(result["trials"])
    return [
        job.name,
        f"`{job.settings['method']}`",
        f"{sizes['delta']:,} ({sizes['share']:.2%})",
        f"{test['accuracy']:.4f} ± {spread['accuracy']:.4f}",
        str(len(result["trials"])),
        f"{minutes:.1f}",
        f"{result['artefact_bytes'] / 1e6:.2f}",
    ]


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    head = ["task", "method", "trained in the backbone", "test accuracy", "trials", "minutes a trial", "artefact MB"]
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]


if __name__ == "__main__":
    sys.exit(main())
