"""The main job on real speech: digits of two speakers never heard in training, by several methods, as one table.

`python -m pegbox.demo` is what `make demo` runs; `--out` keeps the runs, `--full` adds full tuning, the folds of ESC-10
and speech recognition, `--picture` draws the digits.
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
    parser.add_argument(
        "--full", action="store_true", help="every method, full tuning, ESC-10 and LibriSpeech (an hour)"
    )
    parser.add_argument("--picture", type=Path, help="draw the digits' scores over the methods' sizes (PNG or SVG)")
    given = parser.parse_args(arguments)
    try:
        _check(given.shared)
        with tempfile.TemporaryDirectory() as scratch:
            listed = jobs(given.shared, given.full)
            results = [_run(job, given.out or Path(scratch)) for job in listed]
        if given.picture:
            _draw(listed, results, given.picture)
    except PegboxError as problem:
        print(f"pegbox.demo: {problem}", file=sys.stderr)
        return problem.exit_code
    print("\n".join(_table([_row(job, result) for job, result in zip(listed, results, strict=True)])))
    return 0


def jobs(shared: Path, full: bool) -> list[Job]:
    """Returns what the demo runs, quick jobs first."""
    digits = {
        "backbone": str(shared / "models" / "whisper-tiny-en-encoder"),
        "task": 'classify(label="word")',
        "corpus": f'fsdd(root="{shared}/data/real/fsdd", test_speakers=["lucas", "yweweler"])',
        "seeds": [0, 1, 2],
    }
    probe, tuned = {"epochs": 30}, {"epochs": 8}
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
        "train": {"epochs": 12, "precision": "bf16"},
    }
    speech = {
        "backbone": digits["backbone"],
        "task": 'ctc(select="cer")',
        "corpus": f'manifest(path="{shared}/data/real/manifest.csv", filter={{"corpus": "librispeech_asr"}})',
        "seeds": [0, 1, 2],
        "train": {"epochs": 15, "validate_epochs": 3, "precision": "bf16"},
    }
    return [
        *listed,
        Job("digits", digits | {"method": "full", "train": tuned}),
        Job("digits", digits | {"method": "bitfit", "train": tuned}),
        *(Job("ESC-10", sounds | {"method": method}) for method in ("weighted_sum", "lora(rank=8)")),
        *(Job("LibriSpeech", speech | {"method": method}) for method in ("weighted_sum", "lora(rank=8)")),
    ]


def _check(shared: Path) -> None:
    for place in (shared / "models" / "whisper-tiny-en-encoder" / "config.json", shared / "data" / "real" / "fsdd"):
        if not place.exists():
            raise RecipeError(
                f"{place}: not here. The demo needs a pretrained encoder and recordings, which are not part of the "
                "project; say where they lie with --shared DIR (models/whisper-tiny-en-encoder, data/real/fsdd), or "
                "run 'pegbox train' on a backbone and a corpus of your own"
            )


def _run(job: Job, folder: Path) -> dict[str, Any]:
    from pegbox import run
    from pegbox.progress import Display, read_result

    out = folder / f"{job.name}-{job.settings['method'].partition('(')[0]}"
    print(f"{job.name}: {job.settings['method']}", file=sys.stderr)
    if not (out / "result.json").exists():
        with Display() as display:
            run.train(job.settings, out, display.listen)
    return read_result(out)


def _row(job: Job, result: dict[str, Any]) -> list[str]:
    test, spread, sizes = result["mean"]["test"], result["deviation"]["test"], result["parameters"]
    shown = [name for name in test if name != "macro_f1"]
    return [
        job.name,
        f"`{job.settings['method']}`",
        f"{sizes['delta']:,} ({sizes['share']:.2%})",
        ", ".join(f"{name} {test[name]:.4f} ± {spread[name]:.4f}" for name in shown),
        str(len(result["trials"])),
        f"{result['artefact_bytes'] / 1e6:.2f}",
    ]


def _draw(listed: Sequence[Job], results: Sequence[dict[str, Any]], out: Path) -> None:
    from pegbox.curves import compare

    pairs = zip(listed, results, strict=True)
    digits = {job.settings["method"]: result for job, result in pairs if job.name == "digits"}
    compare(digits, "Spoken digits of two unseen speakers, Whisper tiny.en encoder", out)


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    head = ["task", "method", "trained in the backbone", "test", "trials", "artefact MB"]
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]


if __name__ == "__main__":
    sys.exit(main())
