"""`auto` against an exhaustive run: every candidate of its competition trained to the end by itself, on four corpora.

`python benchmarks/auto.py --out runs/auto --shared DIR` prints a table: three synthetic corpora with the `tiny`
encoder, and spoken digits with Whisper tiny.en's encoder, of which one speaker validates and two others test (left out
without DIR). The step is chosen on validation, the test part is scored once. `best` is the candidate whose mean on the
test part is best over the seeds, which nobody could know beforehand; `by validation` what one would pick after the
exhaustive run. Time is the processor's, with loading and testing. What is finished is not run again.
"""

import argparse
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Final

from pegbox import tasks
from pegbox.demo import Job, markdown, place, run_job
from pegbox.recipe import make
from pegbox.training.candidates import resolve

SHARED: Final = Path(__file__).resolve().parents[2] / "shared"
AUTO: Final = "auto(budget=0.005)"
CORPORA: Final[Mapping[str, Mapping[str, Any]]] = {
    "hard keywords": {"task": 'classify(label="word")', "corpus": "synthetic_keywords(hard=True, seed={seed})"},
    "hard intents": {
        "task": 'classify(label=["action", "object", "location"])',
        "corpus": "synthetic_intents(hard=True, seed={seed})",
    },
    "hard sounds": {"task": 'classify(label="event")', "corpus": "synthetic_sounds(hard=True, seed={seed})"},
    "digits": {
        "backbone": "{shared}/models/whisper-tiny-en-encoder",
        "task": 'classify(label="word")',
        "corpus": 'fsdd(root="{shared}/data/real/fsdd", valid_speakers=["george"], '
        'test_speakers=["lucas", "yweweler"])',
        "train": {"epochs": 2, "head_epochs": 20},
    },
}
_TRAIN: Final = {"epochs": 3, "batch_clips": 8, "head_epochs": 20}
_HEAD: Final = ("corpus", "auto", "best", "by validation", "auto chose", "best is", "time of the exhaustive run")


def main() -> None:
    """Runs what is not finished, and prints the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="keep the runs here")
    parser.add_argument("--shared", type=Path, default=SHARED, help="folder with models/ and data/real/")
    parser.add_argument("--corpora", nargs="*", default=list(CORPORA), choices=list(CORPORA))
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    there = [name for name in given.corpora if name != "digits" or (given.shared / "models").exists()]
    print(markdown(_HEAD, [_row(given, name) for name in there]))


def _row(given: argparse.Namespace, name: str) -> list[str]:
    found = [_runs(given, name, seed) for seed in range(given.seeds)]
    task = tasks.build(CORPORA[name]["task"])
    sign = 1 if task.better == "max" else -1
    scores = {who: [_score(runs[who]) for runs in found] for who in found[0]}
    alone = [who for who in scores if who != AUTO]
    best = max(alone, key=lambda who: sign * fmean(scores[who]))
    valid = [max(alone, key=lambda who: sign * _score(runs[who], "valid")) for runs in found]
    chosen = [f"`{runs[AUTO]['search']['chosen']}` {runs[AUTO]['search']['rate']:g}×" for runs in found]
    whole = sum(runs[who]["processor"] for runs in found for who in alone)
    share = sum(runs[AUTO]["processor"] for runs in found) / whole
    picked = [_score(runs[who]) for runs, who in zip(found, valid, strict=True)]
    cells = [_spread(scores[AUTO]), _spread(scores[best]), _spread(picked), ", ".join(chosen), f"`{best}`×"]
    print(name, *cells, f"{share:.2f}", file=sys.stderr)
    return [f"{name} ({task.metric})", *cells, f"{share:.2f}"]


def _runs(given: argparse.Namespace, name: str, seed: int) -> dict[str, dict[str, Any]]:
    """Returns the results of `auto` and of each of its candidates, by method and rate."""
    places = {"shared": given.shared, "seed": seed}
    nouns = {key: value.format(**places) if isinstance(value, str) else value for key, value in CORPORA[name].items()}
    settings = {"backbone": "tiny", "train": _TRAIN, "seeds": [seed], **nouns, "method": AUTO}
    search = resolve(make(settings)).search
    runs = {AUTO: _done(Job(f"{name}-{seed}", settings), given.out)}
    for rate in search.rates:
        for method in search.candidates:
            train = {**settings["train"], "rate": rate}
            if method == "weighted_sum":  # whose head is all that there is to train
                train["epochs"] = train.pop("head_epochs")
            single = settings | {"method": method, "train": train}
            runs[f"{method} {rate:g}"] = _done(Job(f"{name}-{seed}-{rate:g}", single), given.out)
    return runs


def _done(job: Job, folder: Path) -> dict[str, Any]:
    """Returns a job's result, with the processor's seconds that it took."""
    told, before = folder / f"{place(job, folder).name}.seconds", time.process_time()
    result = run_job(job, folder)
    if not told.exists():
        told.write_text(str(time.process_time() - before))
    return result | {"processor": float(told.read_text())}


def _score(result: Mapping[str, Any], split: str = "test") -> float:
    return float(result["scores"][split][result["metric"]])


def _spread(values: list[float]) -> str:
    return f"{fmean(values):.3f}" + (f" ± {stdev(values):.3f}" if len(values) > 1 else "")


if __name__ == "__main__":
    main()
