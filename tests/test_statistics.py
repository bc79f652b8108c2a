"""Statistics of scores: intervals that cover, tests that hold their level, ranks that obey the order."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom
from sklearn.metrics import average_precision_score

from pegbox import tasks
from pegbox.bench import statistics
from pegbox.bench.evidence import Precisions, Ratio, Trials, Whole, evidence
from pegbox.bench.statistics import interval, mean_ranks, paired

finite = st.floats(-1e6, 1e6, allow_nan=False).map(lambda value: round(value, 6))
direction = st.sampled_from(["max", "min"])


def never() -> Any:
    raise AssertionError("a ratio needs no task")


def clips(right: int, count: int) -> list[dict[str, Any]]:
    return [{"id": str(n), "true": "a", "said": "a" if n < right else "b"} for n in range(count)]


def hits(right: int, count: int) -> Ratio:
    found = evidence("accuracy", clips(right, count), right / count, never)
    assert isinstance(found, Ratio)
    return found


def test_the_interval_of_an_accuracy_is_that_of_the_binomial() -> None:
    found = interval([hits(70, 100)], 4000)
    low, high = binom.ppf([0.025, 0.975], 100, 0.7) / 100
    assert abs(found.low - low) <= 0.011 and abs(found.high - high) <= 0.011
    assert found.drawn == "clips" and found.resamples == 4000


@settings(deadline=None)
@given(right=st.integers(0, 40), count=st.integers(40, 60), resamples=st.integers(20, 200))
def test_an_interval_lies_around_the_score_and_within_its_range(right: int, count: int, resamples: int) -> None:
    found = interval([hits(right, count)], resamples)
    assert 0 <= found.low <= found.high <= 1
    assert found.low <= right / count + 0.25 and found.high >= right / count - 0.25
    if right == 0:
        assert found.low == found.high == 0


def test_seeds_on_the_same_clips_share_their_draws() -> None:
    one, other = hits(50, 100), Ratio(hits(50, 100).units, 1 - hits(50, 100).parts, np.ones(100))
    found = interval([one, other], 500)  # whatever is drawn, exactly one of the two is right
    assert found.low == pytest.approx(0.5) and found.high == pytest.approx(0.5)


def test_folds_draw_apart() -> None:
    one = hits(50, 100)
    other = Ratio(tuple(f"other {name}" for name in one.units), 1 - one.parts, one.wholes)
    found = interval([one, other], 500)
    assert found.high - found.low > 0.08


def test_error_rates_of_texts_are_ratios_and_match_the_task() -> None:
    rows = [
        {"id": "1", "true": "a b c", "said": "a c"},
        {"id": "2", "true": "d", "said": "d e f"},
        {"id": "3", "true": "g h", "said": ""},
    ]
    scores = tasks.build("ctc").score(rows)
    for metric in ("wer", "cer"):
        found = evidence(metric, rows, scores[metric], never)
        assert isinstance(found, Ratio)
        assert found.scores(np.ones((1, 3)))[0] == pytest.approx(scores[metric])


def test_a_recorded_score_that_the_quick_way_does_not_give_asks_the_task() -> None:
    task = tasks.build('classify(label="x", select="macro_f1")')
    rows = clips(30, 40)
    found = evidence("macro_f1", rows, task.score(rows)["macro_f1"], lambda: task)
    assert isinstance(found, Whole)
    assert found.scores(np.ones((1, 40)))[0] == pytest.approx(task.score(rows)["macro_f1"])
    assert isinstance(evidence("accuracy", rows, 0.123, lambda: task), Whole)
    assert interval([found], 1000).resamples == statistics.SLOW_RESAMPLES


def voices(speakers: int, each: int, noise: float) -> list[dict[str, Any]]:
    draw = np.random.default_rng(0)
    centres = draw.standard_normal((speakers, 8))
    return [
        {
            "id": f"{s}-{n}",
            "true": f"speaker {s}",
            "said": "?",
            "embedding": list(centres[s] + noise * draw.normal(size=8)),
        }
        for s in range(speakers)
        for n in range(each)
    ]


def test_verification_draws_speakers_and_gives_the_tasks_own_rate() -> None:
    task, rows = tasks.build("verify"), voices(6, 5, 1.2)
    eer = task.score(rows)["eer"]
    found = evidence("eer", rows, eer, lambda: task)
    assert isinstance(found, Trials) and len(found.units) == 6
    assert found.scores(np.ones((1, 6)))[0] == pytest.approx(eer)
    around = interval([found], 300)
    assert around.drawn == "speakers" and around.low <= eer <= around.high


def test_few_speakers_make_no_test() -> None:
    task = tasks.build("verify")
    few, many = (
        [evidence("eer", rows, math.inf, lambda: task) for rows in (voices(n, 4, 0.3), voices(n, 4, 3.0))]
        for n in (6, 14)
    )
    assert math.isnan(paired(few[:1], few[1:]).p) and paired(few[:1], few[1:]).difference < 0
    assert paired(many[:1], many[1:]).p < 0.05


def test_copies_of_one_speaker_are_not_two() -> None:
    task, rows = tasks.build("verify"), voices(3, 4, 1.0)
    found = evidence("eer", rows, task.score(rows)["eer"], lambda: task)
    assert math.isnan(found.scores(np.array([[3.0, 0.0, 0.0]]))[0])


def test_a_paired_test_finds_what_is_there_and_not_what_is_not() -> None:
    base = hits(60, 100)
    better = Ratio(base.units, np.where(np.arange(100) < 90, 1.0, 0.0), base.wholes)
    found = paired([better], [base])
    assert found.difference == pytest.approx(0.3) and found.p < 0.001 and found.low > 0
    assert found.test == "permutation" and found.units == 100
    same = paired([base], [base])
    assert (same.difference, same.p, same.low, same.high) == (0, 1, 0, 0)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=5, max_size=40))
def test_a_paired_test_is_antisymmetric(pairs: list[tuple[bool, bool]]) -> None:
    units = tuple(str(n) for n in range(len(pairs)))
    one, other = (Ratio(units, np.array([float(p[side]) for p in pairs]), np.ones(len(pairs))) for side in (0, 1))
    there, back = paired([one], [other]), paired([other], [one])
    assert there.difference == pytest.approx(-back.difference)
    assert there.p == pytest.approx(back.p, abs=0.03) and 0 < there.p <= 1


def test_a_permutation_test_of_equal_methods_is_seldom_sure() -> None:
    draw = np.random.default_rng(1)
    units = tuple(str(n) for n in range(60))
    found = [
        paired(*([Ratio(units, (draw.random(60) < 0.7).astype(float), np.ones(60))] for _ in range(2)), seed=n).p
        for n in range(60)
    ]
    assert sum(p < 0.05 for p in found) <= 8


def test_other_scores_are_tested_by_the_bootstrap() -> None:
    task = tasks.build('classify(label="x", select="macro_f1")')
    one, other = (Whole(tuple(map(str, range(40))), clips(n, 40), task.score, "macro_f1") for n in (36, 12))
    found = paired([one], [other])
    assert found.test == "bootstrap" and found.p < 0.05 and found.difference > 0


@settings(deadline=None)
@given(scores=st.dictionaries(st.text(max_size=3), finite, min_size=1, max_size=8), better=direction)
def test_ranks_follow_the_order_and_sum_to_what_they_must(scores: dict[str, float], better: Any) -> None:
    ranks = mean_ranks({row: {"t": value} for row, value in scores.items()}, {"t": better})
    assert sum(rank for rank, _ in ranks.values()) == pytest.approx(len(scores) * (len(scores) + 1) / 2)
    for one, other in ((a, b) for a in scores for b in scores):
        ahead = scores[one] > scores[other] if better == "max" else scores[one] < scores[other]
        assert not ahead or ranks[one][0] < ranks[other][0]


def test_ranks_with_gaps_equals_and_no_numbers() -> None:
    scores = {"a": {"x": 0.9, "y": 0.1}, "b": {"x": 0.9}, "c": {"x": math.nan, "y": 0.3}, "d": {}}
    ranks = mean_ranks(scores, {"x": "max", "y": "min"})
    assert ranks["a"] == (1.25, 2) and ranks["b"] == (1.5, 1) and ranks["c"] == (2.5, 2)
    assert math.isnan(ranks["d"][0]) and ranks["d"][1] == 0


def test_precision_of_drawn_clips_is_that_of_the_same_clips_repeated() -> None:
    draw = np.random.default_rng(0)
    for _ in range(50):
        wanted, given = draw.integers(0, 2, 30).astype(float), draw.integers(0, 9, 30) / 9
        weights = draw.integers(0, 4, 30).astype(float)
        places = np.repeat(np.arange(30), weights.astype(int))
        found = Precisions(("",) * 30, wanted[:, None], given[:, None]).scores(weights[None])
        assert found[0] == pytest.approx(average_precision_score(wanted[places], given[places]), abs=1e-12)


def test_tags_turns_and_slots_have_a_quick_way_that_gives_the_tasks_own_score() -> None:
    tags = [
        {"id": str(i), "true": "a,b" if i % 3 else "b,c", "probabilities": {"a": i / 9, "b": 0.5, "c": 0.1}}
        for i in range(9)
    ]
    turns = [{"id": str(i), "true": '[["x", 0.0, 2.0]]', "said": f'[["1", 0.{i}, 2.0]]'} for i in range(9)]
    slots = [{"id": str(i), "true": "B-a one E-a", "said": "B-a one E-a" if i % 2 else "one"} for i in range(9)]
    for spec, metric, rows, kind in (
        ('tag(label="events")', "mAP", tags, Precisions),
        ("diarize", "der", turns, Ratio),
        ("slots", "slot_type_f1", slots, Ratio),
    ):
        task = tasks.build(spec)
        recorded = task.score(rows)[metric]
        found = evidence(metric, rows, recorded, lambda task=task: task)
        assert isinstance(found, kind) and found.scores(np.ones((1, 9)))[0] == pytest.approx(recorded)
