"""The maximum term weighted value of spoken term detection, with the prior and costs of QUESST (MediaEval 2014)."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from pegbox.errors import CorpusError

P_TARGET: Final = 0.0008
C_MISS: Final = 100.0
C_FALSE: Final = 1.0


def score(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Returns `mtwv` and its `threshold`, of plain rows with `fits`, document → score, and `true`, the documents.

    The term weighted value is 1 minus the mean over the queries of the share of its documents that are missed and
    12.49 times the share of the others that are taken; queries that are in no document do not count. Where taking
    nothing is best, which is worth 0, there is no threshold.
    """
    there = [row for row in rows if row["true"]]
    if not there:
        raise CorpusError(f"{len(rows)} queries, none of which is in any document: nothing to score")
    cost = C_FALSE / C_MISS * (1 / P_TARGET - 1)
    trials = [trial for row in there for trial in _trials(row, cost)]
    fits, worth = (np.array(part) for part in zip(*trials, strict=True))
    order = np.argsort(-fits, kind="stable")
    fits, value = fits[order], np.cumsum(worth[order]) / len(there)
    last = np.append(fits[1:] != fits[:-1], True)  # of those that one threshold takes together
    best = int(np.argmax(np.where(last, value, -np.inf)))
    if value[best] <= 0:
        return {"mtwv": 0.0}
    return {"mtwv": float(value[best]), "threshold": float(fits[best])}


def _trials(row: Mapping[str, Any], cost: float) -> list[tuple[float, float]]:
    """Returns the score of each document, and what taking it is worth."""
    true = {*row["true"]}
    missing = sorted(true - row["fits"].keys())
    if missing:
        raise CorpusError(f"{row['id']}: {len(missing)} of its documents have no score: {missing[:8]}")
    rest = len(row["fits"]) - len(true)
    return [(fit, 1 / len(true) if name in true else -cost / rest) for name, fit in row["fits"].items()]
