"""Two runs of one task beside each other: recipes, scores with a paired test, curves, clips that one gets right."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from pegbox.bench import evidence, statistics
from pegbox.bench.recorded import Recorded
from pegbox.bench.report.read import collect, predictions
from pegbox.bench.report.seen import curve, evidence_of
from pegbox.bench.statistics import Paired
from pegbox.errors import RecipeError

_BARS: Final = "▁▂▃▄▅▆▇█"
_WIDTH: Final = 60

Pair = tuple[Recorded, Recorded]
Said = tuple[list[dict[str, Any]], list[dict[str, Any]]]  # both runs' rows, in the same order of clips


@dataclass(frozen=True)
class Setting:
    """A setting in which the recipes differ; "–" where one has none."""

    name: str
    first: str
    second: str


@dataclass(frozen=True)
class Clip:
    """A clip on which one run is better, and what both said."""

    id: str
    true: str
    first: str
    second: str


@dataclass(frozen=True)
class Comparison:
    """What tells two runs apart; of several seeds or folds those that both have, and means over them."""

    metric: str
    better: Literal["max", "min"]
    split: str
    trials: int
    settings: tuple[Setting, ...]
    scores: Mapping[str, tuple[float, float]]
    test: Paired | None
    curves: Mapping[str, str]
    judged: bool  # whether a clip alone is right or wrong in this task
    first_better: tuple[Clip, ...]
    second_better: tuple[Clip, ...]


def compare(first: Path, second: Path) -> Comparison:
    """Returns the comparison of two finished runs, or of their trials by seed and fold.

    Raises:
        RecipeError: no finished run in a folder, or runs of different scores, trials or test clips.
    """
    pairs = _pairs(_trials(first), _trials(second))
    one, other = pairs[0]
    if (one.metric, one.split) != (other.metric, other.split):
        told = f"{one.metric} on {one.split}, {other.metric} on {other.split}"
        raise RecipeError(f"{first} and {second} have different scores ({told}); compare runs of one task")
    rows = [_rows(*pair) for pair in pairs]
    better = _differing(pairs, rows)
    return Comparison(
        metric=one.metric,
        better=one.better,
        split=one.split,
        trials=len(pairs),
        settings=differences(one.settings, other.settings),
        scores=_scores(pairs),
        test=_tested(pairs, rows),
        curves={name: _line(one, run) for name, run in (("first", one), ("second", other))},
        judged=_wrong(one, rows[0][0][0]) is not None,
        first_better=better[0],
        second_better=better[1],
    )


def differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> tuple[Setting, ...]:
    """Returns the settings that differ, in the order of the recipe."""
    one, other = _flat(first), _flat(second)
    keys = dict.fromkeys([*one, *other])
    return tuple(
        Setting(key, str(one.get(key, "–")), str(other.get(key, "–"))) for key in keys if one.get(key) != other.get(key)
    )


def _trials(folder: Path) -> list[Recorded]:
    found = collect([folder])
    if not found.runs:
        raise RecipeError(f"{folder}: no finished run; {found.failed[0].kind}: {found.failed[0].message}")
    settings = {run.settings["method"] + run.settings["task"] + run.settings["corpus"] for run in found.runs}
    if len(settings) > 1:
        raise RecipeError(f"{folder}: holds {len(found.runs)} runs of several recipes; give the folder of one run")
    return list(found.runs)


def _pairs(first: Sequence[Recorded], second: Sequence[Recorded]) -> list[Pair]:
    """Returns the trials by seed and fold; a single one is compared whatever its seed is."""
    if len(first) == len(second) == 1:
        return [(first[0], second[0])]
    keyed = [{(run.cell.seed, run.cell.fold): run for run in runs} for runs in (first, second)]
    shared = [key for key in keyed[0] if key in keyed[1]]
    if not shared:
        raise RecipeError("the two runs have no seed and fold in common; train one of them with the other's seeds")
    return [(keyed[0][key], keyed[1][key]) for key in shared]


def _rows(first: Recorded, second: Recorded) -> Said:
    """Returns both runs' predictions in the same order of clips."""
    found = []
    for run in (first, second):
        rows = predictions(run)
        if rows is None:
            raise RecipeError(f"{run.folder}: predictions.jsonl is missing or does not fit the clips; train it again")
        found.append({str(row["id"]): row for row in rows})
    if found[0].keys() != found[1].keys():
        lost = sorted(found[0].keys() ^ found[1].keys())
        raise RecipeError(f"the two runs were tested on different clips: {len(lost)} are in one only, as {lost[0]!r}")
    return list(found[0].values()), [found[1][name] for name in found[0]]


def _scores(pairs: Sequence[Pair]) -> dict[str, tuple[float, float]]:
    split, names = pairs[0][0].split, pairs[0][0].result["scores"][pairs[0][0].split]
    means = {}
    for name in names:
        one, other = (
            [run.result["scores"][split].get(name, math.nan) for run in runs] for runs in zip(*pairs, strict=True)
        )
        means[name] = (sum(one) / len(one), sum(other) / len(other))
    return means


def _tested(pairs: Sequence[Pair], rows: Sequence[Said]) -> Paired | None:
    """Returns the paired test, or None where a score is no number."""
    if not all(math.isfinite(run.score) for pair in pairs for run in pair):
        return None
    first, second = (
        [evidence_of(pair[side], said[side]) for pair, said in zip(pairs, rows, strict=True)] for side in (0, 1)
    )
    return statistics.paired(first, second)


def _differing(pairs: Sequence[Pair], rows: Sequence[Said]) -> tuple[tuple[Clip, ...], tuple[Clip, ...]]:
    """Returns the clips on which the first, and on which the second is less wrong, the widest gaps first."""
    gaps = []
    for (run, _), (said, meant) in zip(pairs, rows, strict=True):
        for one, two in zip(said, meant, strict=True):
            wrong = (_wrong(run, one), _wrong(run, two))
            if wrong[0] is not None and wrong[1] is not None:
                clip = Clip(str(one["id"]), str(one["true"]), str(one["said"]), str(two["said"]))
                gaps.append((wrong[1] - wrong[0], clip))
    first = sorted((each for each in gaps if each[0] > 0), key=lambda each: -each[0])
    second = sorted((each for each in gaps if each[0] < 0), key=lambda each: each[0])
    return tuple(clip for _, clip in first), tuple(clip for _, clip in second)


def _wrong(run: Recorded, row: Mapping[str, Any]) -> float | None:
    """Returns how wrong a row is: a class 0 or 1, a text its error rate; None where a row alone is neither."""
    parts = evidence.summands(run.metric, row)
    if parts is not None:
        return 1 - parts[0] if run.better == "max" else parts[0] / max(parts[1], 1)
    return float(row["said"] != row["true"]) if row["true"] in row.get("probabilities", {}) else None


def _line(like: Recorded, run: Recorded) -> str:
    """Returns the validation score of a run as a line of bars, on the scale of its own least and most."""
    scores = [point.score for point in curve(run) if math.isfinite(point.score)][-_WIDTH:]
    if not scores:
        return "no log"
    low, high = min(scores), max(scores)
    bars = "".join(_BARS[round((score - low) / ((high - low) or 1) * (len(_BARS) - 1))] for score in scores)
    return f"{bars} {like.metric} {low:.4f} to {high:.4f} over {len(scores)} validations"


def _flat(settings: Mapping[str, Any], outer: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        flat |= _flat(value, f"{outer}{key}.") if isinstance(value, Mapping) else {outer + key: value}
    return flat
