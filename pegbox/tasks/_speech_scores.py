"""How far spoken speech is from a recording: mel-cepstral distortion (Kubichek, 1993), pitch, voicing, durations.

Mel-cepstral distortion of two frames is 10 √2 / ln 10 · ‖c − c'‖ in dB, over c1 to c13 of `pegbox.mel.cepstra`, whose
scale makes it the root mean square over the Mel bands of what the smoothed spectra differ by; c0, the loudness, is left
out. Of two clips it is the mean over frame pairs: those at the same time, as far as the shorter clip goes, or those
that dynamic time warping pairs.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from pegbox.mel import warp

MEANS: Final = ("mel_mcd", "mcd", "mcd_unwarped", "duration_error", "speaker_similarity")
RATES: Final = ("wer", "cer", "per")  # a clip has the pair of edits and of what should have been said
DECIBELS: Final = 10 * math.sqrt(2) / math.log(10)


@dataclass(frozen=True)
class Heard:
    """What a clip's scores are made of: cepstra and the fundamental frequency in Hz, 0 where there is no voice."""

    cepstra: np.ndarray  # (time, order)
    pitch: np.ndarray  # (time,)


def compare(said: Heard, true: Heard) -> dict[str, float]:
    """Returns the distances of two clips, and the counts over which pitch and voicing are averaged.

    `pitch_error` is the sum of squared differences of ln F0 over the `both_voiced` pairs that dynamic time warping of
    the cepstra makes, `voicing_error` the number of the `pairs` of which only one frame is voiced.
    """
    shorter = min(len(said.cepstra), len(true.cepstra))
    costs = _costs(said.cepstra, true.cepstra)
    here, there = warp(costs)
    low, high = said.pitch[here], true.pitch[there]
    both = (low > 0) & (high > 0)
    return {
        "mcd": float(costs[here, there].mean()),
        "mcd_unwarped": float(costs[np.arange(shorter), np.arange(shorter)].mean()),
        "pitch_error": float(np.square(np.log(low[both]) - np.log(high[both])).sum()),
        "both_voiced": float(both.sum()),
        "voicing_error": float(((low > 0) != (high > 0)).sum()),
        "pairs": float(len(here)),
    }


def warped(said: np.ndarray, true: np.ndarray) -> float:  # (time, order), (other time, order)
    """Returns the mel-cepstral distortion in dB of frames paired by dynamic time warping."""
    costs = _costs(said, true)
    return float(costs[warp(costs)].mean())


def mean_scores(clips: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Returns the scores of a set: means over clips of the distortions and of `duration_error`, the root of the mean
    squared ln F0 difference over all pairs that are voiced in both, and the share of all pairs with a voicing error.

    Clips without pairs have not become sound: they have the means alone. Without a pair that is voiced in both the
    pitch has no score, NaN. Where runs of other tasks have heard the clips, `speaker_similarity` is a mean, and each
    error rate all edits divided by all that should have been said.
    """
    means = {name: math.fsum(clip[name] for clip in clips) / len(clips) for name in MEANS if name in clips[0]}
    for name in (name for name in RATES if name in clips[0]):
        edits, wanted = (sum(counts) for counts in zip(*(clip[name] for clip in clips), strict=True))
        means[name] = edits / wanted
    if "pairs" not in clips[0]:
        return means
    squares, voiced, wrong, pairs = (
        math.fsum(clip[name] for clip in clips) for name in ("pitch_error", "both_voiced", "voicing_error", "pairs")
    )
    return means | {
        "log_f0_rmse": math.sqrt(squares / voiced) if voiced else math.nan,
        "voicing_error": wrong / pairs,
    }


def _costs(said: np.ndarray, true: np.ndarray) -> np.ndarray:
    distances: np.ndarray = DECIBELS * np.linalg.norm(said[:, None] - true[None], axis=2)
    return distances
