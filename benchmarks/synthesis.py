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
from pegbox.tasks import build
from pegbox.training.feed import Feed
from pegbox.training.model import Tuned
from pegbox.training.prepare import corpus_rows
from pegbox.training.session import Session
from pegbox.training.speaking import Speaking

METHODS: Final = ("bottleneck(size=16)", "conv_adapter", "prefix", "lora(rank=8)", "full")
SCORES: Final = ("mcd", "mcd_unwarped", "log_f0_rmse", "voicing_error", "duration_error")
SEEDS: Final = (0, 1, 2)


def settings(method: str, corpus: str, epochs: int, seed: int) -> dict[str, Any]:
    """Returns the recipe of one run."""
    train = {"epochs": epochs, "batch_clips": 12, "validate_epochs": 2}
    made = {"backbone": "tiny_voice", "method": method, "task": "synthesize", "corpus": corpus, "seeds": [seed]}
    return made | {"train": train}


def untuned(corpus: str) -> dict[str, float]:
    """Returns the scores of the network as it is, and of recordings that have become Mel frames and sound again."""
    recipe = make(settings("full", corpus, 1, 0))
    session, rows = Session(recipe), [row for row in corpus_rows(recipe, None) if row.split == "test"]
    model = session.model(recipe, session.data(None), 0, None)
    try:
        return _scores(model, rows)
    finally:
        model.delta.detach()


def copied(corpus: str) -> dict[str, float]:
    """Returns the scores of recordings that have become Mel frames and sound again: what the vocoder costs."""
    recipe = make(settings("full", corpus, 1, 0))
    session, found = Session(recipe), []
    model = session.model(recipe, session.data(None), 0, None)
    lesson = _lesson(model)
    for row in (row for row in corpus_rows(recipe, None) if row.split == "test"):
        wave = lesson.feed.wave(row)
        analysis = lesson.script.analysis
        again = analysis.wave(analysis.log_mel(wave))
        found.append(lesson.task.judge(lesson.ears(again), lesson.ears(wave)) | {"duration_error": 0.0})
    model.delta.detach()
    return build("synthesize").score(found)


def main() -> None:
    """Runs what is missing and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="runs go here; what is finished is kept")
    parser.add_argument("--timbre", default="Andrea", help="the unseen voice, of eSpeak NG's variants")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--methods", nargs="+", default=METHODS)
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    given = parser.parse_args()
    corpus = f'synthetic_voice(timbre="{given.timbre}")'
    print("| method | trained | " + " | ".join(SCORES) + " | minutes |\n|" + " --- |" * (len(SCORES) + 3))
    for name, found in (("recordings through the vocoder", copied(corpus)), ("not adapted", untuned(corpus))):
        print(f"| {name} | | " + " | ".join(f"{found[score]:.3f}" for score in SCORES) + " | |", flush=True)
    for method in given.methods:
        print(_row(method, [_result(method, corpus, given, seed) for seed in given.seeds]), flush=True)


def _result(method: str, corpus: str, given: argparse.Namespace, seed: int) -> dict[str, Any]:
    folder = given.out / f"{method.partition('(')[0]}-{seed}"
    if not (folder / "result.json").exists():
        pegbox.train(settings(method, corpus, given.epochs, seed), folder)
    result: dict[str, Any] = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    return result


def _row(method: str, results: Sequence[dict[str, Any]]) -> str:
    cells = [f"`{method}`", f"{results[0]['parameters']['delta']:,}"]
    for score in SCORES:
        values = [result["scores"]["test"][score] for result in results]
        spread = f" ± {stdev(values):.3f}" if len(values) > 1 else ""
        cells.append(f"{fmean(values):.3f}{spread}")
    minutes = [(result["seconds"]["train"] + result["seconds"]["validate"]) / 60 for result in results]
    return "| " + " | ".join([*cells, f"{fmean(minutes):.1f}"]) + " |"


def _scores(model: Tuned, rows: Sequence[Row]) -> dict[str, float]:
    return model.task.score(_lesson(model).heard(rows, with_loss=False)[0])


def _lesson(model: Tuned) -> Speaking:
    assert isinstance(model.backbone, Speaker)
    return Speaking(model, model.backbone, Feed(model.backbone, None))


if __name__ == "__main__":
    main()
