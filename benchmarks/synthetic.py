"""Do the synthetic corpora rank methods? `python benchmarks/synthetic.py --out runs/synthetic` prints a table.

The `tiny` encoder and several methods, each on three drawn corpora a task (a seed each); the step is chosen
on validation, the test part (other voices, another fold, or other clips) is scored once, by the task's own score.
Mean and deviation over the corpora; in the last column those of the lead over the linear probe on the same corpus,
of the method whose mean is best.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Final, Literal

from pegbox import tasks
from pegbox.demo import Job, markdown, run_job

METHODS: Final = ("linear_probe", "weighted_sum", "bitfit", "lora(rank=8)", "bottleneck(size=32)")
PROBES: Final = METHODS[:2]
Scores = Mapping[str, Sequence[float]]  # method → a score a corpus


@dataclass(frozen=True)
class Ranking:
    """A task, a corpus without seed and size, and how methods with edits train; probes take three times the epochs.

    The last layer knows words best: for them a head on the sum of all layers falls behind the probe, which reads it.
    """

    task: str
    corpus: str
    epochs: int = 10
    features: Literal["auto", "last"] = "auto"


TASKS: Final[Mapping[str, Ranking]] = {
    "speakers": Ranking('classify(label="voice")', "synthetic_speakers({})"),
    "intents": Ranking('classify(label=["action", "object", "location"])', "synthetic_intents({})", 12, "last"),
    "hard_intents": Ranking(
        'classify(label=["action", "object", "location"])', "synthetic_intents(hard=True, {})", 8, "last"
    ),
    "sounds": Ranking('classify(label="event")', "synthetic_sounds({})"),
    "hard_sounds": Ranking('classify(label="event")', "synthetic_sounds(hard=True, {})"),
    "emotions": Ranking('classify(label="emotion")', "synthetic_emotions({})"),
    "keywords": Ranking('classify(label="word")', "synthetic_keywords({})", 12, "last"),
    "hard_keywords": Ranking('classify(label="word")', "synthetic_keywords(hard=True, {})", 8, "last"),
    "music": Ranking('classify(label="genre")', "synthetic_music({})"),
    "mixed": Ranking('tag(label="events")', "synthetic_sounds(mixed=True, {})"),
    "verify": Ranking('verify(label="voice", network="pooled")', 'synthetic_speakers(protocol="verify", {})', 20),
    "phonemes": Ranking('ctc(label="phonemes", unit="phoneme")', "synthetic_sentences({})", 20, "last"),
    "slots": Ranking('slots(network="linear")', "synthetic_slots({})", 40, "last"),
    "dialogues": Ranking("diarize(hidden=32)", "synthetic_dialogues({})", 20),
}


def main() -> None:
    """Runs what is not finished in the folder, and prints the table as Markdown."""
    given = _parser().parse_args()
    lines = []
    for name in given.tasks:
        scores = {method: [_run(given, name, method, seed) for seed in range(given.seeds)] for method in given.methods}
        lines.append(_line(name, scores))
        print(" | ".join(lines[-1]), file=sys.stderr)
    print(markdown(["task", *(f"`{method}`" for method in given.methods), "best over the probe"], lines))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--out", type=Path, required=True, help="keep the runs here (what is finished is not run again)"
    )
    parser.add_argument("--tasks", nargs="*", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--methods", nargs="*", default=list(METHODS))
    parser.add_argument("--size", default="small", choices=["small", "medium"])
    parser.add_argument("--seeds", type=int, default=3)
    return parser


def _run(given: argparse.Namespace, name: str, method: str, seed: int) -> float:
    ranking = TASKS[name]
    settings: dict[str, Any] = {
        "backbone": "tiny",
        "method": method,
        "task": ranking.task,
        "corpus": ranking.corpus.format(f"seed={seed}, size='{given.size}'"),
        "seeds": [seed],
        "features": "auto" if method in PROBES else ranking.features,
        "train": {"epochs": ranking.epochs * (3 if method in PROBES else 1), "batch_clips": 8},
    }
    result = run_job(Job(f"{name}-{given.size}-{seed}", settings), given.out)
    return float(result["scores"]["test"][result["metric"]])


def _line(name: str, scores: Scores) -> list[str]:
    """Returns a task's row: its score and direction, the scores, and the best method's lead over the linear probe."""
    task = tasks.build(TASKS[name].task)
    sign = 1 if task.better == "max" else -1
    cells = [_spread(each) for each in scores.values()]
    best = max(scores, key=lambda method: sign * fmean(scores[method]))
    lead = [sign * (a - b) for a, b in zip(scores[best], scores.get("linear_probe", scores[best]), strict=True)]
    return [f"{name} ({task.metric} {'↑' if sign > 0 else '↓'})", *cells, f"`{best}`: {_spread(lead, '+')}"]


def _spread(values: Sequence[float], sign: str = "") -> str:
    return f"{fmean(values):{sign}.3f}" + (f" ± {stdev(values):.3f}" if len(values) > 1 else "")


if __name__ == "__main__":
    main()
