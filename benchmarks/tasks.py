"""Does every kind of task learn? `python benchmarks/tasks.py --out runs/tasks` prints a table.

The suite `synthetic`: the `tiny` encoder on clips that Pegbox makes, two seeds a task; the step is chosen on
validation, the test part is scored once. Beside it stands what the same scores make of one answer for all clips: the
commonest class, the mean, nothing said, one speaker throughout, embeddings that are all the same.
"""

import argparse
import json
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from math import isnan
from pathlib import Path
from statistics import fmean, mode
from typing import Any, Final

from pegbox import tasks
from pegbox.bench import superb
from pegbox.demo import Job, markdown, place, run_job
from pegbox.run import load_trials

Row = dict[str, Any]
SUITE: Final = Path(superb.__file__).parent / "suites" / "synthetic.toml"


def main() -> None:
    """Runs what is not finished in the folder, and prints the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="keep the runs here; what is finished is not run again")
    parser.add_argument("--tasks", nargs="*", help="names of the suite; all by default")
    parser.add_argument("--methods", nargs="*", help="instead of those of the suite")
    given = parser.parse_args()
    suite = tomllib.loads(SUITE.read_text(encoding="utf-8"))
    lines = []
    for task in suite["tasks"]:
        if not given.tasks or task["name"] in given.tasks:
            lines += [_line(suite, task, method, given.out) for method in given.methods or suite["methods"]]
            print(" | ".join(lines[-1]), file=sys.stderr)
    head = ["task", "method", "score", "one answer for all", "validation", "test", "clips tested", "seconds a seed"]
    print(markdown(head, lines))


def _line(suite: Mapping[str, Any], task: Mapping[str, Any], method: str, out: Path) -> list[str]:
    nouns = {"backbone": suite["backbones"][0], "method": method, "task": task["task"], "corpus": task["corpus"]}
    train = suite["train"] | task.get("train", {})
    job = Job(task["name"], nouns | {"seeds": suite["seeds"], "train": train})
    result = run_job(job, out)
    metric, kind = result["metric"], task["task"].partition("(")[0]
    lines = (load_trials(place(job, out))[0].folder / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if row["split"] == "test"]
    same = tasks.build(task["task"]).score(ANSWERS[kind](rows))[metric]
    found = [_shown(result, split, metric) for split in ("valid", "test")]
    seconds = sum(result["seconds"].values()) / len(suite["seeds"])
    least = f"{0.0 if isnan(same) else same:.3f}"  # what is constant has a concordance of 0
    return [f"{task['name']}: `{kind}`", f"`{method}`", metric, least, *found, str(len(rows)), f"{seconds:.0f}"]


def _shown(result: Mapping[str, Any], split: str, metric: str) -> str:
    return f"{result['mean'][split][metric]:.3f} ± {result['deviation'][split][metric]:.3f}"


def _commonest(rows: Sequence[Row]) -> list[Row]:
    return [{**row, "said": mode(each["true"] for each in rows)} for row in rows]


def _prevalence(rows: Sequence[Row]) -> list[Row]:
    return [{**row, "probabilities": dict.fromkeys(row["probabilities"], 0.5)} for row in rows]


def _mean(rows: Sequence[Row]) -> list[Row]:
    return [{**row, "said": str(fmean(float(each["true"]) for each in rows)), "values": {}} for row in rows]


def _nothing(rows: Sequence[Row]) -> list[Row]:
    return [{**row, "said": ""} for row in rows]


def _alike(rows: Sequence[Row]) -> list[Row]:
    return [{**row, "embedding": [1.0, 0.0]} for row in rows]


def _one_speaker(rows: Sequence[Row]) -> list[Row]:
    ends = [max(end for _, _, end in json.loads(row["true"])) for row in rows]
    plain = [{"id": row["id"], "true": row["true"]} for row in rows]  # without the chances of frames
    return [{**row, "said": json.dumps([["1", 0.0, end]])} for row, end in zip(plain, ends, strict=True)]


ANSWERS: Final[dict[str, Callable[[Sequence[Row]], list[Row]]]] = {
    "classify": _commonest,
    "tag": _prevalence,
    "regress": _mean,
    "ctc": _nothing,
    "slots": _nothing,
    "verify": _alike,
    "diarize": _one_speaker,
}


if __name__ == "__main__":
    main()
