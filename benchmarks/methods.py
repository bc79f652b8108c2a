"""Every method with its default setting on real speech and sound: score, trained numbers, seconds an epoch, artefact.

`python benchmarks/methods.py --out runs/methods --shared DIR` prints one table. Whisper tiny.en's encoder; digits of
two speakers never heard in training (three seeds), and ESC-10 with `--sounds` (its five folds). The step is chosen on
validation, the test part is scored once. What is finished in the folder is not run again.
"""

import argparse
import sys
from pathlib import Path
from typing import Any, Final

from pegbox import registry
from pegbox.demo import Job, markdown, run_job

SHARED: Final = Path(__file__).resolve().parents[2] / "shared"
NOT_ALONE: Final = {"downsample": "downsample + lora", "peft": 'peft(type="oft")'}  # these need a partner or a choice


def main() -> None:
    """Runs the methods and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--shared", type=Path, default=SHARED, help="folder with models/ and data/real/")
    parser.add_argument("--methods", nargs="*", default=list(registry.names("methods")))
    parser.add_argument("--sounds", action="store_true", help="ESC-10 as well, an hour more")
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    rows = []
    for name in given.methods:
        method = NOT_ALONE.get(name, name)
        found = [run_job(job, given.out) for job in _jobs(given.shared, method, given.seeds, given.sounds)]
        rows.append(_row(method, found))
        print(" | ".join(rows[-1]), file=sys.stderr)
    tasks = ["digits", "ESC-10"] if given.sounds else ["digits"]
    print(markdown(["method", *tasks, "trained in the backbone", "seconds an epoch", "artefact kB"], rows))


def _jobs(shared: Path, method: str, seeds: int, sounds: bool) -> list[Job]:
    shared_part = {"backbone": str(shared / "models" / "whisper-tiny-en-encoder"), "method": method}
    probe = method in ("linear_probe", "weighted_sum")
    digits = {
        "task": 'classify(label="word")',
        "corpus": f'fsdd(root="{shared}/data/real/fsdd", test_speakers=["lucas", "yweweler"])',
        "seeds": list(range(seeds)),
        "train": {"epochs": 30 if probe else 8},
    }
    events = {
        "task": 'classify(label="event")',
        "corpus": f'esc10(root="{shared}/data/real/esc10")',
        "folds": [1, 2, 3, 4, 5],
        "train": {"epochs": 30 if probe else 12},
    }
    jobs = [Job("digits", shared_part | digits), Job("esc10", shared_part | events)]
    return jobs if sounds else jobs[:1]


def _row(method: str, found: list[dict[str, Any]]) -> list[str]:
    first, sizes = found[0], found[0]["parameters"]
    scores = [
        f"{result['mean']['test']['accuracy']:.4f} ± {result['deviation']['test']['accuracy']:.4f}" for result in found
    ]
    epochs = len(first["trials"]) * (30 if method in ("linear_probe", "weighted_sum") else 8)
    return [
        f"`{method}`",
        *scores,
        f"{sizes['delta']:,} ({sizes['share']:.2%})",
        f"{first['seconds']['train'] / epochs:.2f}",
        f"{first['artefact_bytes'] / 1e3:,.0f}",
    ]


if __name__ == "__main__":
    main()
