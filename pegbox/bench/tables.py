"""What came out of a matrix: a line for each backbone and method, a column for each task."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from scipy.stats import rankdata

from pegbox.bench.matrix import Cell
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
    better: str  # "max" or "min"
    metric: str


@dataclass(frozen=True)
class Line:
    """One backbone and method: its scores by task, mean rank among the methods, trained numbers, bytes and seconds."""

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
    ranks = mean_ranks(scores)
    return [_line(key, tasks, scores[key], ranks[key]) for key, tasks in found.items()]


def mean_ranks(scores: Mapping[Key, Mapping[str, Score]]) -> dict[Key, float]:
    """Returns each one's rank, 1 is best, averaged over the tasks that all have; NaN where there is no such task."""
    common = set.intersection(*(set(tasks) for tasks in scores.values())) if scores else set()
    table = []
    for task in sorted(common):
        signs = [-1.0 if tasks[task].better == "max" else 1.0 for tasks in scores.values()]
        values = [sign * tasks[task].mean for sign, tasks in zip(signs, scores.values(), strict=True)]
        table.append(rankdata([math.inf if math.isnan(value) else value for value in values]))
    return {key: fmean(row[i] for row in table) if table else math.nan for i, key in enumerate(scores)}


def written(score: Score | None) -> str:
    """Returns a field as text."""
    if score is None:
        return "–"
    spread = f" ± {score.deviation:.3f}" if score.runs > 1 else ""
    return f"{score.mean:.3f}{spread}"


def _score(results: Sequence[Mapping[str, Any]]) -> Score:
    first = results[0]
    values = [_number(each["scores"][_split(first)][first["metric"]]) for each in results]
    return Score(
        fmean(values), stdev(values) if len(values) > 1 else 0.0, len(values), first["better"], first["metric"]
    )


def _points(tasks: Mapping[str, Sequence[Mapping[str, Any]]]) -> float:
    means = {}
    for task, results in tasks.items():
        split = _split(results[0])
        names = results[0]["scores"][split]
        means[task] = {name: fmean(_number(each["scores"][split][name]) for each in results) for name in names}
    try:
        return superb_score(means)
    except RecipeError:
        return math.nan


def _split(result: Mapping[str, Any]) -> str:
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
