"""The SUPERB score: one number for many tasks, on the leaderboard's frozen constants (arXiv:2105.01051, 2203.06849).

A score stands between that of log-Mel filterbanks, 0 points, and that of a strong network of 2022, 1,000 points.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Final

from pegbox.errors import RecipeError, nearest

PAPER: Final = ("PR", "SID", "KS", "QbE", "IC", "ASR", "ASV", "ER", "SD", "SF")  # the ten tasks of the paper
PUBLIC: Final = ("PR", "SID", "QbE", "ASR", "ASV", "ER", "SD", "ST", "SE", "SS")  # those of the challenge's public set


@dataclass(frozen=True)
class Anchor:
    """A score as Pegbox names it, what brings it to the leaderboard's unit, and its values at 0 and 1,000 points."""

    score: str
    unit: float
    none: float
    thousand: float

    def points(self, value: float) -> float:
        """Returns the points of a score; below 0 and above 1,000 are possible."""
        return 1000 * (self.unit * value - self.none) / (self.thousand - self.none)


ANCHORS: Final[Mapping[str, tuple[Anchor, ...]]] = {
    "PR": (Anchor("per", 100, 82.01, 3.53),),
    "KS": (Anchor("accuracy", 100, 41.3826674, 96.66),),
    "IC": (Anchor("accuracy", 100, 9.649354219, 98.76),),
    "SID": (Anchor("accuracy", 100, 20.058174, 90.3),),
    "ER": (Anchor("accuracy", 100, 48.23672168, 67.62),),
    "ASR": (Anchor("wer", 100, 23.18, 3.62),),
    "QbE": (Anchor("mtwv", 100, 0.58, 7.36),),
    "SF": (Anchor("slot_type_f1", 100, 69.64, 89.81), Anchor("slot_value_cer", 100, 52.94, 21.76)),
    "ASV": (Anchor("eer", 100, 9.56, 5.11),),
    "SD": (Anchor("der", 100, 10.05, 5.62),),
    "ST": (Anchor("bleu", 1, 2.32, 20.01),),
    "SE": (Anchor("pesq", 1, 2.55, 2.64), Anchor("stoi", 100, 93.6, 94.2)),
    "SS": (Anchor("si_sdr_improvement", 1, 9.2341, 10.4514),),
}


def task_points(task: str, scores: Mapping[str, float]) -> float:
    """Returns the points of one task, of several scores their mean.

    Raises:
        RecipeError: the task is none of SUPERB's, or a score that it needs is missing.
    """
    if task not in ANCHORS:
        raise RecipeError(f"superb: no task '{task}'{nearest(task, ANCHORS)}")
    missing = [anchor.score for anchor in ANCHORS[task] if anchor.score not in scores]
    if missing:
        raise RecipeError(f"superb: {task} lacks {', '.join(missing)}; its scores are {sorted(scores)}")
    return fmean(anchor.points(scores[anchor.score]) for anchor in ANCHORS[task])


def superb_score(results: Mapping[str, Mapping[str, float]]) -> float:
    """Returns the mean points over the tasks of the results: task → scores as Pegbox has them, shares of one.

    Published scores are means over all of `PAPER`, or of `PUBLIC`: with fewer tasks it is another number, and whoever
    shows it says over which.

    Raises:
        RecipeError: no task at all, a task that is none of SUPERB's, or a score that is missing.
    """
    if not results:
        raise RecipeError("superb: no results to condense")
    return fmean(task_points(task, scores) for task, scores in results.items())
