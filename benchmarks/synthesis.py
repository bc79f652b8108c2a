"""Adapts the small synthesis network to a voice that it has never heard, by methods and by full tuning.

`python benchmarks/synthesis.py --out DIR` prints the table of docs/synthesis.md. A verifier, trained first, tells how
near the voice is. Tuning begins at the nearest of the network's own voices, or at `--voice 0`. The first seed tries
multiples of a method's rate; the one with the best validation score is that of the other seeds. Minutes are the
processor's. Finished runs in DIR, and the samples in them, are kept.
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Final

import pegbox
from pegbox.backbones import Speaker
from pegbox.recipe import make
from pegbox.rows import Row
from pegbox.tasks import Prediction
from pegbox.training.feed import Feed
from pegbox.training.model import Tuned
from pegbox.training.prepare import corpus_rows
from pegbox.training.session import Session
from pegbox.training.speaking import Speaking

METHODS: Final = {  # with the multiples of their own rates that are tried
    "bottleneck(size=16)": (12.0, 30.0),
    "conv_adapter": (12.0, 30.0),
    "prefix": (30.0, 100.0),
    "lora(rank=8)": (12.0, 30.0),
    "full": (4.0, 12.0),
}
RATES: Final = (4.0, 12.0)  # those of another method
CRITICS: Final = {"verifier": "verify", "transcriber": "ctc"}
SEEDS: Final = (0, 1, 2)
VERIFIER: Final = {
    "backbone": "tiny",
    "method": "lora(rank=8)",
    "task": 'verify(label="voice", network="pooled")',
    "corpus": 'synthetic_speakers(protocol="verify")',
    "train": {"epochs": 8, "batch_clips": 8},
}


def settings(method: str, given: argparse.Namespace, seed: int, rate: float = 1.0) -> dict[str, Any]:
    """Returns the recipe of one run."""
    train = {"steps": given.steps, "batch_clips": 12, "validate_steps": max(1, given.steps // 5), "rate": rate}
    asked = [f'{name}="{folder}"' for name in CRITICS if (folder := getattr(given, name))]
    told = ", ".join([f"voice={given.voice}", *asked])
    made = {"backbone": "tiny_voice", "method": method, "task": f"synthesize({told})"}
    return made | {"corpus": f'synthetic_voice(timbre="{given.timbre}")', "seeds": [seed], "train": train}


def ends(given: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Returns the scores of recordings that have become Mel frames and sound again, and of the network as it is."""
    recipe = make(settings("full", given, 0))
    session, rows = Session(recipe), [row for row in corpus_rows(recipe, None) if row.split == "test"]
    model = session.model(recipe, session.data(None), 0, None)
    lesson = _lesson(model)
    heard = {"recordings through the vocoder": [_copied(lesson, row) for row in rows]}
    heard["not adapted"] = lesson.heard(rows, with_loss=False)[0]
    model.delta.detach()
    return {name: model.task.score(found) for name, found in heard.items()}


def main() -> None:
    """Runs what is missing and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="runs go here; what is finished is kept")
    parser.add_argument("--timbre", default="Andrea", help="the unseen voice, of eSpeak NG's variants")
    parser.add_argument("--voice", default='"nearest"', help="of the network's own, where tuning begins: a number")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--rates", type=float, nargs="+", help="multiples to try, instead of each method's own")
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    for name, task in CRITICS.items():
        parser.add_argument(f"--{name}", default="", help=f"folder of a finished run of {task}, which hears the clips")
    given = parser.parse_args()
    given.verifier = given.verifier or _verifier(given.out / "verifier")
    found = ends(given)
    scores = list(found["not adapted"])
    print("| method | rate | trained | " + " | ".join(scores) + " | minutes |\n|" + " --- |" * (len(scores) + 4))
    for name, made in found.items():
        print(f"| {name} | | | " + " | ".join(f"{made[score]:.3f}" for score in scores) + " | |", flush=True)
    for method in given.methods:
        print(_row(method, *_results(method, given), scores), flush=True)


def _verifier(folder: Path) -> str:
    if not (folder / "result.json").exists():
        pegbox.train(VERIFIER, folder)
    return str(folder)


def _results(method: str, given: argparse.Namespace) -> tuple[float, list[dict[str, Any]]]:
    """Returns the multiple of the rate that validated best with the first seed, and with it every seed's result."""
    first, *others = given.seeds
    rates = given.rates or METHODS.get(method, RATES)
    tried = {rate: _result(method, given, first, rate) for rate in rates}
    best = min(tried, key=lambda rate: tried[rate]["scores"]["valid"][tried[rate]["metric"]])
    return best, [tried[best], *(_result(method, given, seed, best) for seed in others)]


def _result(method: str, given: argparse.Namespace, seed: int, rate: float) -> dict[str, Any]:
    folder = given.out / f"{method.partition('(')[0]}-{rate:g}-{seed}"
    if not (folder / "result.json").exists():
        before = time.process_time()
        pegbox.train(settings(method, given, seed, rate), folder)
        (folder / "minutes").write_text(str((time.process_time() - before) / 60))
    result: dict[str, Any] = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    return result | {"minutes": float((folder / "minutes").read_text())}


def _row(method: str, rate: float, results: Sequence[dict[str, Any]], scores: Sequence[str]) -> str:
    cells = [f"`{method}`", f"{rate:g}×", f"{results[0]['parameters']['delta']:,}"]
    for score in scores:
        values = [result["scores"]["test"][score] for result in results]
        spread = f" ± {stdev(values):.3f}" if len(values) > 1 else ""
        cells.append(f"{fmean(values):.3f}{spread}")
    return "| " + " | ".join([*cells, f"{fmean(result['minutes'] for result in results):.1f}"]) + " |"


def _copied(lesson: Speaking, row: Row) -> Prediction:
    """Returns what is told of a recording that has become Mel frames and sound again: what the vocoder costs."""
    wave, again = lesson.feed.wave(row), lesson.copied(row)
    mel = lesson.primer.analysis.log_mel(wave)
    told = lesson.task.distance(mel, mel) | lesson.task.judge(lesson.ears(again), lesson.ears(wave))
    return told | {"duration_error": 0.0} | lesson.critics.hear(again, lesson.speaker.rate, row)


def _lesson(model: Tuned) -> Speaking:
    assert isinstance(model.backbone, Speaker)
    return Speaking(model, model.backbone, Feed(model.backbone, None))


if __name__ == "__main__":
    main()
