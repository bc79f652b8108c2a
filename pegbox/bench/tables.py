"""What came out of a matrix: a line for each backbone and method, a column for each task."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any, Literal

from pegbox.bench.matrix import Cell
from pegbox.bench.statistics import mean_ranks
from pegbox.bench.store import Store
from pegbox.bench.superb import superb_score
from pegbox.errors import RecipeError

Key = tuple[str, str]


@dataclass(frozen=True)
class Score:
    """One field: mean and deviation of a task's own score over the runs that are done."""

    mean: float
    deviation: float
    runs: int
    better: Literal["max", "min"]
    metric: str


@dataclass(frozen=True)
class Line:
    """One backbone and method: its scores by task, mean rank over its tasks, trained numbers, bytes and seconds."""

    backbone: str
    method: str
    scores: Mapping[str, Score]
    rank: float
    parameters: int
    artefact_bytes: int
    seconds: float
    points: float  # the SUPERB score over the tasks that are done; NaN where they are none of SUPERB's


def lines(cells: Iterable[Cell], store: Store) -> list[Line]:
    """Returns the lines of the runs that are done, in the order of the cells; scores are those of the test split."""
    found: dict[Key, dict[str, list[dict[str, Any]]]] = {}
    for cell in cells:
        if store.state(cell) == "done":
            of_method = found.setdefault((cell.backbone, cell.method), {})
            of_method.setdefault(cell.task, []).append(store.result(cell))
    scores = {key: {task: _score(results) for task, results in tasks.items()} for key, tasks in found.items()}
    means = {"\n".join(key): {task: score.mean for task, score in tasks.items()} for key, tasks in scores.items()}
    better = {task: score.better for tasks in scores.values() for task, score in tasks.items()}
    ranks = mean_ranks(means, better)
    return [_line(key, tasks, scores[key], ranks["\n".join(key)][0]) for key, tasks in found.items()]


def written(score: Score | None) -> str:
    """Returns a field as text."""
    if score is None:
        return "–"
    spread = f" ± {score.deviation:.3f}" if score.runs > 1 else ""
    return f"{score.mean:.3f}{spread}"


def _score(results: Sequence[Mapping[str, Any]]) -> Score:
    first = results[0]
    values = [_number(each["scores"][split_of(first)][first["metric"]]) for each in results]
    return Score(
        fmean(values), stdev(values) if len(values) > 1 else 0.0, len(values), first["better"], first["metric"]
    )


def _points(tasks: Mapping[str, Sequence[Mapping[str, Any]]]) -> float:
    means = {}
    for task, results in tasks.items():
        split = split_of(results[0])
        names = results[0]["scores"][split]
        means[task] = {name: fmean(_number(each["scores"][split][name]) for each in results) for name in names}
    try:
        return superb_score(means)
    except RecipeError:
        return math.nan


def split_of(result: Mapping[str, Any]) -> str:
    """Returns the split whose score is shown: the test part, or where a corpus has none the validation part."""
    return "test" if "test" in result["scores"] else "valid"


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _line(key: Key, tasks: Mapping[str, Sequence[Mapping[str, Any]]], scores: Mapping[str, Score], rank: float) -> Line:
    every = [result for results in tasks.values() for result in results]
    return Line(
        *key,
        scores,
        rank,
        parameters=max(result["parameters"]["delta"] for result in every),
        artefact_bytes=round(fmean(result["artefact_bytes"] for result in every)),
        seconds=sum(sum(result["seconds"].values()) for result in every),
        points=_points(tasks),
    )
