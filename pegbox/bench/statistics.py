"""Statistics of scores: bootstrap intervals (Efron, 1979), paired tests of two methods, mean ranks over tasks.

All of it works on saved predictions. What is drawn again is the test part: whole clips, or for pairs of clips whole
speakers. Runs on the same clips share their draws, so that an interval tells how far the score depends on the clips
that happened to be tested. How far it depends on the seed is the deviation over runs, which stands apart.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

import numpy as np
from scipy.stats import permutation_test, rankdata

from pegbox.bench.evidence import Array, Evidence, Ratio, Trials, Whole

RESAMPLES: Final = 1000
SLOW_RESAMPLES: Final = 200  # where every draw is a call of the task's whole score
_PERMUTATIONS: Final = 9999
_FEWEST: Final = 10  # units: of fewer, bootstrapped differences are too few to count


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


@lru_cache(maxsize=4)
def _weights(units: int, resamples: int, seed: int) -> Array:  # → (draws, units)
    draw = np.random.default_rng(seed)
    return draw.multinomial(units, np.full(units, 1 / units), resamples).astype(np.float64)


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
