"""Saved predictions, ready to be scored on any multiset of their clips: quickly, where a score allows it."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, runtime_checkable

import numpy as np
from rapidfuzz.distance import Levenshtein

Array = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
Rows = Sequence[Mapping[str, Any]]
Score = Callable[[Rows], Mapping[str, float]]

_CLOSE: Final = 1e-6


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


@runtime_checkable
class Sums(Protocol):
    """A task whose own score is a sum over clips divided by another sum."""

    def summands(self, row: Mapping[str, Any]) -> tuple[float, float]:
        """Returns what a clip adds to both."""


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


@runtime_checkable
class Tabled(Protocol):
    """A task whose score is the mean average precision of tags."""

    def table(self, predictions: Rows) -> tuple[Array, Array]:
        """Returns which tags each clip has, and what chance it was given."""


@dataclass(frozen=True)
class Precisions:
    """Mean average precision over the tags that some of the drawn clips have and others have not."""

    units: tuple[str, ...]
    wanted: Array  # (clips, tags)
    given: Array

    def scores(self, weights: Array) -> Array:  # (draws, clips) → (draws,)
        """Returns the mean average precision of each draw."""
        each = [_average_precision(self.wanted[:, n], self.given[:, n], weights) for n in range(self.wanted.shape[1])]
        with np.errstate(invalid="ignore"):
            found: Array = np.nansum(each, 0) / np.isfinite(each).sum(0)
        return found


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


def evidence(metric: str, rows: Rows, recorded: float, score: Callable[[], Any]) -> Evidence:
    """Returns a run's evidence; `score()` gives the task, and is only asked where no quick way gives `recorded`."""
    ids = tuple(str(row["id"]) for row in rows)
    quick = _SUMS.get(metric)
    if quick and (found := _ratio(ids, list(map(quick, rows)), recorded)):
        return found
    task = score()
    if isinstance(task, Sums) and (found := _ratio(ids, list(map(task.summands, rows)), recorded)):
        return found
    if metric == "eer" and isinstance(task, Compares):
        return _trials(task, rows)
    if metric == "mAP" and isinstance(task, Tabled):
        return Precisions(ids, *(each.astype(np.float64) for each in task.table(rows)))
    return Whole(ids, rows, task.score, metric)


def summands(metric: str, row: Mapping[str, Any]) -> tuple[float, float] | None:
    """Returns what a clip adds to the two sums of a score, or None where its score is no such ratio."""
    quick = _SUMS.get(metric)
    return quick(row) if quick else None


def _ratio(ids: tuple[str, ...], sums: Sequence[tuple[float, float]], recorded: float) -> Ratio | None:
    """Returns the ratio of sums if it is the score that the run recorded."""
    parts, wholes = (np.array(each, np.float64) for each in zip(*sums, strict=True))
    same = wholes.sum() and abs(parts.sum() / wholes.sum() - recorded) < _CLOSE
    return Ratio(ids, parts, wholes) if same else None


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


def _average_precision(wanted: Array, given: Array, weights: Array) -> Array:  # (clips,) ×2, (draws, clips) → (draws,)
    """Returns Σ precision × gained recall over the distinct chances; not a number where all or none have the tag."""
    order = np.argsort(-given, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(given[order])), len(order) - 1)
    true = np.cumsum(weights[:, order] * wanted[order], 1)[:, ends]
    said = np.cumsum(weights[:, order], 1)[:, ends]
    gained = np.diff(true, axis=1, prepend=0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Array = np.where(gained > 0, true / said * gained, 0.0).sum(1) / true[:, -1]
    return np.where(true[:, -1] < said[:, -1], found, np.nan)
