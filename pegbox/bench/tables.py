"""What came out of a matrix: a line for each backbone and method, a column for each task."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean

from pegbox.bench.matrix import Cell
from pegbox.bench.recorded import Recorded, Score
from pegbox.bench.statistics import mean_ranks
from pegbox.bench.store import Store
from pegbox.bench.superb import superb_score
from pegbox.errors import RecipeError

Key = tuple[str, str]


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
    found: dict[Key, dict[str, list[Recorded]]] = {}
    for cell in cells:
        if store.state(cell) == "done":
            of_method = found.setdefault((cell.backbone, cell.method), {})
            of_method.setdefault(cell.task, []).append(store.recorded(cell))
    scores = {key: {task: Score(tuple(runs)) for task, runs in tasks.items()} for key, tasks in found.items()}
    means = {"\n".join(key): {task: score.mean for task, score in tasks.items()} for key, tasks in scores.items()}
    better = {task: score.runs[0].better for tasks in scores.values() for task, score in tasks.items()}
    ranks = mean_ranks(means, better)
    return [_line(key, tasks, ranks["\n".join(key)][0]) for key, tasks in scores.items()]


def written(score: Score | None) -> str:
    """Returns a field as text."""
    if score is None:
        return "–"
    spread = "" if score.deviation is None else f" ± {score.deviation:.3f}"
    return f"{score.mean:.3f}{spread}"


def _points(scores: Mapping[str, Score]) -> float:
    means = {}
    for task, score in scores.items():
        names = score.runs[0].scores
        means[task] = {name: fmean(run.scores[name] for run in score.runs) for name in names}
    try:
        return superb_score(means)
    except RecipeError:
        return math.nan


def _line(key: Key, scores: Mapping[str, Score], rank: float) -> Line:
    every = [run for score in scores.values() for run in score.runs]
    return Line(
        *key,
        scores,
        rank,
        parameters=max(run.trained for run in every),
        artefact_bytes=round(fmean(run.result["artefact_bytes"] for run in every)),
        seconds=sum(run.wall for run in every),
        points=_points(scores),
    )
