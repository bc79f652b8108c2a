"""AD-TUNING on real speech and sound: against each fixed size of child, full tuning, LoRA and the probes.

`python benchmarks/ad_tuning.py --out runs/children` prints a table: Whisper tiny.en's encoder, digits of two speakers
never heard in training, three seeds; `--sounds` adds ESC-10 (its five folds; the head is trained alone first). The step
is chosen on validation, the test part is scored once. Each run has a process of its own, so that peak memory and
processor time are its own, both relative to those of the largest child alone. What is finished is not run again.
"""

import argparse
import json
import resource
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any, Final

from pegbox.demo import markdown

SHARED: Final = Path(__file__).resolve().parents[2] / "shared"
LARGEST: Final = "child(keep=0.1)"
METHODS: Final = (
    *("weighted_sum", LARGEST, "child(keep=0.01)", "child(keep=0.001)"),
    *("ad_tuning", "lora(rank=8)", "full"),
)


def main() -> None:
    """Runs what is not finished in the folder, and prints the tables as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="keep the runs here")
    parser.add_argument("--shared", type=Path, default=SHARED, help="folder with models/ and data/real/")
    parser.add_argument("--methods", nargs="*", default=list(METHODS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--sounds", action="store_true", help="ESC-10 as well")
    given = parser.parse_args()
    for task in ("digits", "ESC-10")[: 2 if given.sounds else 1]:
        found = {method: _run(given, task, method) for method in given.methods}
        print(f"\n{task}\n")
        print(markdown(_HEAD, [_row(method, found) for method in found]))


_HEAD: Final = (
    "method",
    "test accuracy",
    "chosen",
    "trained in the backbone",
    "processor time",
    "peak memory",
    "artefact kB",
)


def _run(given: argparse.Namespace, task: str, method: str) -> dict[str, Any]:
    place = given.out / f"{task}-{method.partition(',')[0]}"
    if not (place / "result.json").exists():
        place.mkdir(parents=True, exist_ok=True)
        recipe = given.out / f"{place.name}.json"
        recipe.write_text(json.dumps(_settings(given, task, method)))
        code = f"import json, pegbox; pegbox.train(json.load(open({str(recipe)!r})), {str(place)!r})"
        print(f"{task}: {method}", file=sys.stderr)
        before = _processor()
        subprocess.run([sys.executable, "-c", code], check=True)
        (given.out / f"{place.name}.seconds").write_text(str(_processor() - before))
    result: dict[str, Any] = json.loads((place / "result.json").read_text())
    return result | {"processor": float((given.out / f"{place.name}.seconds").read_text())}


def _processor() -> float:
    """Returns the processor's seconds that finished processes of this one have taken."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _settings(given: argparse.Namespace, task: str, method: str) -> dict[str, Any]:
    probe = method == "weighted_sum"
    shared = {"backbone": str(given.shared / "models" / "whisper-tiny-en-encoder"), "method": method}
    if task == "digits":
        return shared | {
            "task": 'classify(label="word")',
            "corpus": f'fsdd(root="{given.shared}/data/real/fsdd", test_speakers=["lucas", "yweweler"])',
            "seeds": list(range(given.seeds)),
            "train": {"epochs": 30 if probe else given.epochs},
        }
    return shared | {
        "task": 'classify(label="event")',
        "corpus": f'esc10(root="{given.shared}/data/real/esc10")',
        "folds": [1, 2, 3, 4, 5],
        "train": {"epochs": 30} if probe else {"epochs": 2, "batch_clips": 8, "head_epochs": 30},
    }


def _row(method: str, found: dict[str, dict[str, Any]]) -> list[str]:
    result, reference = found[method], found.get(LARGEST)
    mean, spread = result["mean"]["test"]["accuracy"], result["deviation"]["test"]["accuracy"]
    chosen = Counter(each["method"].partition(",")[0] for each in result["trials"]) if method == "ad_tuning" else {}
    time = result["processor"] / reference["processor"] if reference else 1.0
    memory = result["peak_memory_mb"] / reference["peak_memory_mb"] if reference else 1.0
    return [
        f"`{method}`",
        f"{mean:.4f} ± {spread:.4f}",
        ", ".join(f"{name.removeprefix('child(keep=')} {number}×" for name, number in chosen.items()),
        ", ".join(sorted({f"{each['parameters']['delta']:,}" for each in result["trials"]})),
        f"{time:.2f}",
        f"{memory:.2f}",
        f"{result['artefact_bytes'] / 1e3:,.0f}",
    ]


if __name__ == "__main__":
    main()
