"""Comparing clips two by two: cosine scores, adaptive score normalisation, equal error rate and detection cost."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any, Final

import numpy as np
from sklearn.metrics import roc_curve

from pegbox.errors import CorpusError

_MOST_PAIRS: Final = 500_000
Array = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


def unit(vectors: Sequence[Sequence[float]]) -> Array:  # (clips, size)
    """Returns vectors of length one; silence, all zero, stays so."""
    found = np.asarray(vectors, np.float64)
    lengths: Array = np.maximum(np.linalg.norm(found, axis=-1, keepdims=True), 1e-12)
    return found / lengths


def pairs(rows: Sequence[dict[str, Any]]) -> tuple[Array, Array, Array]:
    """Returns the places of first and second clip, and whether they match: the rows' `trials`, or else all pairs."""
    place = {row["id"]: number for number, row in enumerate(rows)}
    listed = [(row["id"], other, same) for row in rows for other, same in row.get("trials", ())]
    strange = sorted({other for _, other, _ in listed if other not in place})
    if strange:
        raise CorpusError(f"{len(strange)} clips of the trials have no prediction: {strange[:8]}")
    if listed:
        found = [(place[one], place[other], same) for one, other, same in listed]
    else:
        found = [(i, j, rows[i]["true"] == rows[j]["true"]) for i, j in _all_pairs(len(rows))]
    first, second, same = (np.array(part) for part in zip(*found, strict=True)) if found else (np.zeros(0),) * 3
    if len(set(same.tolist())) < 2:
        raise CorpusError(
            f"{len(found)} pairs of {len(rows)} clips, all of one kind; needed are pairs of one speaker and of two"
        )
    return first, second, same


def _all_pairs(count: int) -> Sequence[tuple[int, int]]:
    if count * (count - 1) // 2 <= _MOST_PAIRS:
        return list(combinations(range(count), 2))
    drawn = np.random.default_rng(0).integers(0, count, (_MOST_PAIRS, 2))
    return [(int(i), int(j)) for i, j in drawn if i != j]


def cohort_statistics(vectors: Array, cohort: Array, top: int) -> Array:  # (clips, size), (others, size) → (clips, 2)
    """Returns mean and deviation of each clip's `top` nearest others; itself is none of them."""
    cosines = vectors @ cohort.T
    cosines[cosines > 1 - 1e-6] = -np.inf
    nearest = -np.sort(-cosines, axis=1)[:, :top]
    there = np.isfinite(nearest)
    nearest, count = np.where(there, nearest, 0.0), np.maximum(there.sum(1), 1)
    mean = nearest.sum(1) / count
    variance = (np.where(there, nearest - mean[:, None], 0.0) ** 2).sum(1) / count
    return np.stack([mean, np.sqrt(variance)], 1)


def normalised(scores: Array, first: Array, second: Array) -> Array:  # (pairs,), (pairs, 2), (pairs, 2)
    """Returns the mean of the scores as the cohorts of the first and of the second clip see them (AS-norm)."""
    sides = [(scores - side[:, 0]) / np.maximum(side[:, 1], 1e-6) for side in (first, second)]
    return (sides[0] + sides[1]) / 2


def equal_error_rate(same: Array, scores: Array) -> float:
    """Returns the rate at which as many are wrongly let in as kept out, between the points of the ROC curve."""
    false, true, _ = roc_curve(same, scores)
    return float(np.interp(1.0, false + true, false))


def least_cost(same: Array, scores: Array, p_target: float, c_miss: float, c_false: float) -> float:
    """Returns minDCF: the least detection cost over all thresholds, as a share of deciding blindly."""
    false, true, _ = roc_curve(same, scores, drop_intermediate=False)
    cost = c_miss * p_target * (1 - true) + c_false * (1 - p_target) * false
    return float(cost.min() / min(c_miss * p_target, c_false * (1 - p_target)))
