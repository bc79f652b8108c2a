"""The main job on real speech and sound: Whisper tiny.en's encoder, several methods, as one table.

`python benchmarks/real.py` runs digits of two speakers never heard in training by four methods and one seed (two
minutes); `--full` three seeds, more methods, the folds of ESC-10 and speech recognition (two hours). `--out` keeps the
runs, `--picture` draws the digits.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from pegbox.curves import compare
from pegbox.demo import Job, markdown, run_job
from pegbox.errors import PegboxError, RecipeError
from pegbox.run import summarise

SHARED: Final = Path(__file__).resolve().parents[2] / "shared"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the jobs and prints the table as Markdown; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
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
            results = [run_job(job, given.out or Path(scratch)) for job in listed]
        if given.picture:
            pairs = zip(listed, results, strict=True)
            digits = {job.method: result for job, result in pairs if job.name == "digits"}
            compare({"digits of two unseen speakers": digits}, "Whisper tiny.en encoder", given.picture)
    except PegboxError as problem:
        print(f"real.py: {problem}", file=sys.stderr)
        return problem.exit_code
    head = ["task", "method", "trained in the backbone", "test", "trials", "artefact MB"]
    print(markdown(head, [_row(job, result) for job, result in zip(listed, results, strict=True)]))
    return 0


def jobs(shared: Path, full: bool) -> list[Job]:
    """Returns what the demo runs, quick jobs first."""
    digits = {
        "backbone": str(shared / "models" / "whisper-tiny-en-encoder"),
        "task": 'classify(label="word")',
        "corpus": f'fsdd(root="{shared}/data/real/fsdd", test_speakers=["lucas", "yweweler"])',
        "seeds": [0, 1, 2] if full else [0],
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
        *(Job("ESC-10", sounds | {"method": method}) for method in ("weighted_sum", "lora(rank=8)", "full")),
        *(Job("LibriSpeech", speech | {"method": method}) for method in ("weighted_sum", "lora(rank=8)")),
    ]


def _check(shared: Path) -> None:
    for place in (shared / "models" / "whisper-tiny-en-encoder" / "config.json", shared / "data" / "real" / "fsdd"):
        if not place.exists():
            raise RecipeError(
                f"{place}: not here. This needs a pretrained encoder and recordings, which are not part of the "
                "project; say where they lie with --shared DIR (models/whisper-tiny-en-encoder, data/real/fsdd), or "
                "run 'pegbox train' on a backbone and a corpus of your own"
            )


def _row(job: Job, result: dict[str, Any]) -> list[str]:
    if "mean" not in result:
        result = summarise([result | {"trial": ""}])
    test, spread, sizes = result["mean"]["test"], result["deviation"]["test"], result["parameters"]
    shown = [name for name in test if name in ("accuracy", "wer", "cer")]
    return [
        job.name,
        f"`{job.method}`",
        f"{sizes['delta']:,} ({sizes['share']:.2%})",
        ", ".join(f"{name} {test[name]:.4f} ± {spread[name]:.4f}" for name in shown),
        str(len(result["trials"])),
        f"{result['artefact_bytes'] / 1e6:.2f}",
    ]


if __name__ == "__main__":
    sys.exit(main())
