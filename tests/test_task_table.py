"""The benchmark of tasks: what one answer for all clips scores, which every learnt task must beat."""

import json
import runpy
from pathlib import Path

import pytest

from pegbox import tasks

TABLE = runpy.run_path(str(Path(__file__).parents[1] / "benchmarks" / "tasks.py"))

TURNS = [json.dumps([["a", 0.0, 1.0], ["b", 1.0, 2.0]]), json.dumps([["a", 1.0, 2.0]])]


@pytest.mark.parametrize(
    ("spec", "rows", "wanted"),
    [
        ('classify(label="x")', [{"true": "a"}, {"true": "a"}, {"true": "b"}], 2 / 3),
        ('tag(label="x")', [{"true": t, "probabilities": {"a": 0.1}} for t in ("a", "", "", "")], 0.25),
        ("ctc", [{"true": "a b"}, {"true": "c"}], 1.0),
        ("slots", [{"true": "B-x A E-x"}, {"true": "B"}], 0.5),  # without slots nothing said is right
        ("verify", [{"id": str(n), "true": who} for n, who in enumerate("aab")], 0.5),
        ("diarize", [{"id": str(n), "true": turns} for n, turns in enumerate(TURNS)], 2 / 3),
    ],
)
def test_one_answer_for_all_by_hand(spec: str, rows: list[dict[str, object]], wanted: float) -> None:
    task = tasks.build(spec)
    assert task.score(TABLE["ANSWERS"][spec.partition("(")[0]](rows))[task.metric] == pytest.approx(wanted)
