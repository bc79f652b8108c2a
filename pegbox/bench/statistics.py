"""Statistics of scores: bootstrap intervals (Efron, 1979), paired tests of two methods, mean ranks over tasks.

All of it works on saved predictions. What is drawn again is the test part: whole clips, or for pairs of clips whole
speakers. Runs on the same clips share their draws, so that an interval tells how far the score depends on the clips
that happened to be tested. How far it depends on the seed is the deviation over runs, which stands apart.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Literal, Protocol, runtime_checkable

import numpy as np
from rapidfuzz.distance import Levenshtein
from scipy.stats import permutation_test, rankdata

Array = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
Rows = Sequence[Mapping[str, Any]]
Score = Callable[[Rows], Mapping[str, float]]

RESAMPLES: Final = 1000
SLOW_RESAMPLES: Final = 200  # where every draw is a call of the task's whole score
_PERMUTATIONS: Final = 9999
_CLOSE: Final = 1e-6
_FEWEST: Final = 10  # units: of fewer, bootstrapped differences are too few to count


class Evidence(Protocol):
    """One run's saved predictions, ready to be scored on any multiset of its units."""

    @property
    def units(self) -> tuple[str, ...]:
        """What is drawn: clips or speakers, by name."""

    def scores(self, weights: Array) -> Array:  # (draws, units) → (draws,)
        """Returns the score where each unit stands as often as its weight says."""


@runtime_checkable
class Compares(Protocol):
    """A task that scores pairs of clips."""

    def compared(self, predictions: Rows) -> tuple[Array, Array, Array, Array]:
        """Returns the places of first and second clip, whether they match, and how near they are."""


@dataclass(frozen=True)
class Ratio:
    """A score that is a sum over clips divided by another sum: accuracy, and error rates of text."""

    units: tuple[str, ...]
    parts: Array  # (clips,)
    wholes: Array  # (clips,)

    def scores(self, weights: Array) -> Array:  # (draws, clips) → (draws,)
        """Returns the ratio of the weighted sums; nothing divided by nothing is not a number."""
        with np.errstate(invalid="ignore", divide="ignore"):
            found: Array = (weights @ self.parts) / (weights @ self.wholes)
        return found


@dataclass(frozen=True)
class Trials:
    """Equal error rate over pairs, by speakers: the pairs of one speaker depend on each other.

    A pair of one speaker counts as often as the speaker was drawn, a pair of two as often as the product says; copies
    of one speaker are never taken for two.
    """

    units: tuple[str, ...]
    first: Array  # (pairs,) places of speakers
    second: Array
    same: Array
    values: Array

    def scores(self, weights: Array) -> Array:  # (draws, speakers) → (draws,)
        """Returns the equal error rates; not a number where a draw holds pairs of one kind only."""
        order = np.argsort(-self.values, kind="stable")
        values, same, first, second = (each[order] for each in (self.values, self.same, self.first, self.second))
        ends = np.append(np.flatnonzero(np.diff(values)), len(values) - 1)
        return np.array([_weighted_eer(_trial_weights(row, first, second), same, ends) for row in weights])


@dataclass(frozen=True)
class Whole:
    """Any other score: the task's own, on the rows drawn."""

    units: tuple[str, ...]
    rows: Rows
    score: Score
    metric: str

    def scores(self, weights: Array) -> Array:  # (draws, clips) → (draws,)
        """Returns the task's score of each draw."""
        drawn = (np.repeat(np.arange(len(self.rows)), row.astype(int)).tolist() for row in weights)
        return np.array([self.score([self.rows[place] for place in places])[self.metric] for places in drawn])


@dataclass(frozen=True)
class Interval:
    """A bootstrap percentile interval of a mean score, and how it was found."""

    low: float
    high: float
    resamples: int
    drawn: Literal["clips", "speakers"]


@dataclass(frozen=True)
class Paired:
    """How much higher the first of two scores is on the same clips; p by `test`, two-sided."""

    difference: float
    low: float
    high: float
    p: float
    test: Literal["permutation", "bootstrap"]
    units: int


def evidence(metric: str, rows: Rows, recorded: float, score: Callable[[], Any]) -> Evidence:
    """Returns a run's evidence; `score()` gives the task, and is only asked where no quick way gives `recorded`."""
    ids = tuple(str(row["id"]) for row in rows)
    quick = _SUMS.get(metric)
    if quick:
        parts, wholes = (np.array(each, np.float64) for each in zip(*map(quick, rows), strict=True))
        if wholes.sum() and abs(parts.sum() / wholes.sum() - recorded) < _CLOSE:
            return Ratio(ids, parts, wholes)
    task = score()
    if metric == "eer" and isinstance(task, Compares):
        return _trials(task, rows)
    return Whole(ids, rows, task.score, metric)


def interval(runs: Sequence[Evidence], resamples: int = RESAMPLES, seed: int = 0, level: float = 0.95) -> Interval:
    """Returns the interval of the mean score over runs; draws that have no score are left out."""
    found = means(runs, resamples, seed)
    known = found[np.isfinite(found)]
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2]) if len(known) else (math.nan, math.nan)
    return Interval(float(low), float(high), len(found), "speakers" if isinstance(runs[0], Trials) else "clips")


def means(runs: Sequence[Evidence], resamples: int, seed: int = 0) -> Array:  # → (draws,)
    """Returns the mean score over runs for every draw; runs with the same units share it, folds draw apart."""
    resamples = min([resamples] + [SLOW_RESAMPLES for run in runs if isinstance(run, Whole)])
    groups = {units: number for number, units in enumerate(dict.fromkeys(run.units for run in runs))}
    weights = {units: _weights(len(units), resamples, seed + number) for units, number in groups.items()}
    return np.mean([run.scores(weights[run.units]) for run in runs], axis=0)  # type: ignore[no-any-return]


def paired(first: Sequence[Evidence], second: Sequence[Evidence], seed: int = 0) -> Paired:
    """Returns the difference of two methods' mean scores, run by run on the same units.

    Ratios are tested by exchanging the two methods' clips at random (all ways, where there are few clips); other
    scores by how often the bootstrapped difference crosses zero, where p of fewer than 10 units is not a number.
    """
    once = [np.mean([run.scores(np.ones((1, len(run.units))))[0] for run in runs]) for runs in (first, second)]
    drawn = means(first, RESAMPLES, seed) - means(second, RESAMPLES, seed)
    drawn = drawn[np.isfinite(drawn)]
    low, high = np.quantile(drawn, [0.025, 0.975]) if len(drawn) else (math.nan, math.nan)
    ratios = [[run for run in runs if isinstance(run, Ratio)] for runs in (first, second)]
    test: Literal["permutation", "bootstrap"] = "permutation" if len(ratios[0]) == len(first) else "bootstrap"
    units = {unit for run in first for unit in run.units}
    if test == "permutation":
        p = _exchanged(ratios[0], ratios[1], seed)
    else:
        p = _crossing(drawn) if len(units) >= _FEWEST else math.nan
    return Paired(float(once[0] - once[1]), float(low), float(high), p, test, len(units))


def mean_ranks(
    scores: Mapping[str, Mapping[str, float]], better: Mapping[str, Literal["max", "min"]]
) -> dict[str, tuple[float, int]]:
    """Returns row → mean rank over the tasks it has (1 is best, equals share), and over how many.

    A score that is no number ranks behind all others; a missing one does not count.
    """
    ranks: dict[str, list[float]] = {row: [] for row in scores}
    for task, direction in better.items():
        rows = [row for row in scores if task in scores[row]]
        signed = np.array([scores[row][task] * (-1 if direction == "max" else 1) for row in rows])
        for row, rank in zip(rows, rankdata(np.where(np.isnan(signed), np.inf, signed)), strict=True):
            ranks[row].append(float(rank))
    return {row: (float(np.mean(each)) if each else math.nan, len(each)) for row, each in ranks.items()}


def summands(metric: str, row: Mapping[str, Any]) -> tuple[float, float] | None:
    """Returns what a clip adds to the two sums of a score, or None where its score is no such ratio."""
    quick = _SUMS.get(metric)
    return quick(row) if quick else None


@lru_cache(maxsize=4)
def _weights(units: int, resamples: int, seed: int) -> Array:  # → (draws, units)
    draw = np.random.default_rng(seed)
    return draw.multinomial(units, np.full(units, 1 / units), resamples).astype(np.float64)


def _words(row: Mapping[str, Any]) -> tuple[float, float]:
    true, said = row["true"].split(), row["said"].split()
    return Levenshtein.distance(true, said), len(true)


def _characters(row: Mapping[str, Any]) -> tuple[float, float]:
    true, said = row["true"].strip(), row["said"].strip()
    return Levenshtein.distance(true, said), len(true)


_SUMS: Final[Mapping[str, Callable[[Mapping[str, Any]], tuple[float, float]]]] = {
    "accuracy": lambda row: (float(row["said"] == row["true"]), 1.0),
    "wer": _words,
    "per": _words,
    "cer": _characters,
}


def _trials(task: Compares, rows: Rows) -> Trials:
    first, second, same, values = task.compared(rows)
    names = tuple(sorted({str(row["true"]) for row in rows}))
    place = {name: number for number, name in enumerate(names)}
    speakers = np.array([place[str(row["true"])] for row in rows])
    return Trials(names, speakers[first], speakers[second], same.astype(np.float64), values)


def _trial_weights(weights: Array, first: Array, second: Array) -> Array:  # (speakers,), (pairs,) → (pairs,)
    one, other = weights[first.astype(int)], weights[second.astype(int)]
    found: Array = np.where(first == second, one, one * other)
    return found


def _weighted_eer(weights: Array, same: Array, ends: Array) -> float:  # (pairs,) by falling value; ends of equals
    true, false = np.cumsum(weights * same), np.cumsum(weights * (1 - same))
    if not true[-1] or not false[-1]:
        return math.nan
    true, false = (np.append(0.0, each[ends.astype(int)] / each[-1]) for each in (true, false))
    return float(np.interp(1.0, false + true, false))


def _exchanged(first: Sequence[Ratio], second: Sequence[Ratio], seed: int) -> float:
    (one, whole), (other, _) = _pooled(first), _pooled(second)
    if np.array_equal(one, other):
        return 1.0
    found = permutation_test(
        (one, other),
        lambda a, b, axis: (a.sum(axis) - b.sum(axis)) / whole,
        permutation_type="samples",
        vectorized=True,
        n_resamples=_PERMUTATIONS,
        batch=max(1, 4_000_000 // len(one)),
        rng=np.random.default_rng(seed),
    )
    return float(found.pvalue)


def _pooled(runs: Sequence[Ratio]) -> tuple[Array, float]:
    """Returns each unit's part, added over the runs that have it, and the sum of all wholes."""
    totals: dict[str, float] = {}
    for run in runs:
        for unit, part in zip(run.units, run.parts, strict=True):
            totals[unit] = totals.get(unit, 0.0) + float(part)
    return np.array([totals[unit] for unit in sorted(totals)]), float(sum(run.wholes.sum() for run in runs))


def _crossing(drawn: Array) -> float:
    if not len(drawn):
        return math.nan
    return float(min(1.0, 2 * (min((drawn <= 0).sum(), (drawn >= 0).sum()) + 1) / (len(drawn) + 1)))
