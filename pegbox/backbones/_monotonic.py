"""Monotonic alignment search (Kim et al., Glow-TTS, 2020, arXiv:2005.11129): which frames each unit of a text lasts."""

import numpy as np


def durations(scores: np.ndarray) -> np.ndarray:  # (units, time) → (units,)
    """Returns how many frames each unit has on the path of the largest sum.

    The path begins with the first unit in the first frame and ends with the last one in the last; from frame to frame
    it stays or goes one unit ahead, and stays where both are worth the same. So every unit has a frame, and there must
    be at least as many frames as units.
    """
    units, time = scores.shape
    assert units <= time
    best = np.full(units, -np.inf)
    best[0], gone = scores[0, 0], np.zeros((units, time), bool)
    for frame in range(1, time):
        ahead = np.append(-np.inf, best[:-1])
        gone[:, frame] = ahead > best
        best = np.maximum(ahead, best) + scores[:, frame]
    found, unit = np.zeros(units, np.int64), units - 1
    for frame in range(time - 1, -1, -1):
        found[unit] += 1
        unit -= int(gone[unit, frame])
    return found
