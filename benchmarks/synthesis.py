"""Adapts the small synthesis network to a voice that it has never heard, by methods and by full tuning.

`python benchmarks/synthesis.py --out DIR` prints the table of docs/synthesis.md. Finished runs in DIR are kept.
"""

import argparse
import json
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

METHODS: Final = ("bottleneck(size=16)", "conv_adapter", "prefix", "lora(rank=8)", "full")
CRITICS: Final = {"verifier": "verify", "transcriber": "ctc"}
SEEDS: Final = (0, 1, 2)


def settings(method: str, given: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Returns the recipe of one run."""
    train = {"epochs": given.epochs, "batch_clips": 12, "validate_epochs": 2}
    asked = [f'{name}="{folder}"' for name in CRITICS if (folder := getattr(given, name))]
    made = {"backbone": "tiny_voice", "method": method, "task": f"synthesize({', '.join(asked)})"}
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
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--methods", nargs="+", default=METHODS)
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    for name, task in CRITICS.items():
        parser.add_argument(f"--{name}", default="", help=f"folder of a finished run of {task}, which hears the clips")
    given = parser.parse_args()
    found = ends(given)
    scores = list(found["not adapted"])
    print("| method | trained | " + " | ".join(scores) + " | minutes |\n|" + " --- |" * (len(scores) + 3))
    for name, made in found.items():
        print(f"| {name} | | " + " | ".join(f"{made[score]:.3f}" for score in scores) + " | |", flush=True)
    for method in given.methods:
        print(_row(method, [_result(method, given, seed) for seed in given.seeds], scores), flush=True)


def _result(method: str, given: argparse.Namespace, seed: int) -> dict[str, Any]:
    folder = given.out / f"{method.partition('(')[0]}-{seed}"
    if not (folder / "result.json").exists():
        pegbox.train(settings(method, given, seed), folder)
    result: dict[str, Any] = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    return result


def _row(method: str, results: Sequence[dict[str, Any]], scores: Sequence[str]) -> str:
    cells = [f"`{method}`", f"{results[0]['parameters']['delta']:,}"]
    for score in scores:
        values = [result["scores"]["test"][score] for result in results]
        spread = f" ± {stdev(values):.3f}" if len(values) > 1 else ""
        cells.append(f"{fmean(values):.3f}{spread}")
    minutes = [(result["seconds"]["train"] + result["seconds"]["validate"]) / 60 for result in results]
    return "| " + " | ".join([*cells, f"{fmean(minutes):.1f}"]) + " |"


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
