"""Diarization: SUPERB's head and golden loss, frames and turns, DER by hand, tuning on validation, and learning."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from _learnt import few, learnt, needs_espeak, size

import pegbox
from pegbox import tasks
from pegbox.corpora.synthetic.dialogues import Dialogues
from pegbox.errors import CorpusError, RecipeError
from pegbox.tasks import _turns

SECOND = tasks.build("diarize(period=1.0)")
LOGITS = torch.tensor([[[2, -1], [1, 1], [-3, 0.5], [0.2, -0.2]], [[-1, 2], [-1, -2], [9, 9], [9, 9]]])
ROWS = [{"turns": '[["a", 1, 3], ["b", 0, 2], ["b", 3, 4]]'}, {"turns": '[["b", 0, 1]]'}]


def said(*pairs: tuple[list[list[object]], list[list[object]]]) -> list[dict[str, str]]:
    return [{"id": str(n), "true": json.dumps(t), "said": json.dumps(s)} for n, (t, s) in enumerate(pairs)]


@pytest.mark.parametrize(("width", "numbers"), [(240, 1_545_218), (768, 2_626_562), (1024, 3_150_850)])
def test_the_head_has_superbs_size(width: int, numbers: int) -> None:
    assert size(tasks.build("diarize").head(width, ("1", "2"))) == numbers


def test_the_loss_and_the_decisions_are_those_of_superb() -> None:
    counts = torch.tensor([4, 2])
    for protocol in ("clean", "reference"):
        task = tasks.build(f'diarize(period=1.0, protocol="{protocol}")')
        assert float(task.loss(LOGITS, counts, ROWS, ("1", "2"))) == pytest.approx(0.305503, abs=1e-6)
        rows = [
            {**row, "true": task.truth(true)} for row, true in zip(task.decode(LOGITS, counts, ()), ROWS, strict=True)
        ]
        assert json.loads(rows[0]["said"]) == [["1", 0, 2], ["2", 1, 3], ["1", 3, 4]]
        assert [len(row["chances"]) for row in rows] == [4, 2]
        wanted = {"der": 0, "missed": 0, "false_alarm": 0, "confusion": 0, "frame_accuracy": 1}
        assert task.score(rows) == pytest.approx(wanted)


def test_frames_beyond_a_clip_and_the_order_of_speakers_do_not_matter() -> None:
    counts, names = torch.tensor([4, 2]), ("1", "2")
    loss = SECOND.loss(LOGITS, counts, ROWS, names)
    changed = LOGITS.flip(2).clone()
    changed[1, 2:] = -7
    assert torch.allclose(loss, SECOND.loss(changed, counts, ROWS, names))
    more = tasks.build("diarize(period=1.0, speakers=3)")
    assert more.loss(torch.randn(2, 4, 3), counts, ROWS, ("1", "2", "3")).isfinite()


def test_a_frame_is_a_speakers_if_half_of_it_is() -> None:
    turns = [("a", 0.0, 0.029), ("b", 0.031, 0.06), ("b", 0.0605, 9.0)]
    found = _turns.frames(turns, 4, 0.02, 2)
    assert found.T.tolist() == [[1, 0, 0, 0], [0, 0, 1, 1]]
    whole = _turns.frames([("a", 0.0, 100.0)], 5, 0.02, 2)  # a turn that spans all there is
    assert whole.T.tolist() == [[1] * 5, [0] * 5]
    parts = [("a", 0.0, 0.006), ("a", 0.012, 0.018)]  # together more than half a frame
    assert [_turns.frames(parts, 1, 0.02, 1, rounded)[0, 0] for rounded in (False, True)] == [1.0, 0.0]


@pytest.mark.parametrize("seed", range(3))
def test_turns_come_back_from_their_frames(seed: int) -> None:
    active = np.random.default_rng(seed).random((50, 2)) < 0.5
    active[0] = True
    turns = _turns.spoken(active.astype(float), 0.5, 1, 0.02, 6)
    assert (_turns.frames(turns, 50, 0.02, 2) == active).all()
    assert (_turns.frames(turns, 50, 0.02, 2, rounded=True) == active).all()


def test_a_median_fills_holes_and_drops_what_is_short() -> None:
    chances = np.array([[c] for c in (0, 1, 1, 0, 1, 1, 0, 0, 1, 0)], float)
    assert _turns.spoken(chances, 0.5, 3, 1.0, 6) == [("1", 1, 6)]
    assert _turns.spoken(chances, 0.5, 11, 1.0, 6) == []
    assert len(_turns.spoken(chances, 0.5, 1, 1.0, 6)) == 3


def test_der_by_hand() -> None:
    found = SECOND.score(
        said(([["a", 0, 6], ["b", 4, 10]], [["x", 0, 5], ["y", 5, 12]]), ([["a", 0, 8]], [["z", 0, 8]]))
    )
    # 20 s are spoken; a is missed from 5 to 6 and b from 4 to 5, nobody speaks from 10 to 12
    assert found == pytest.approx({"der": 4 / 20, "missed": 2 / 20, "false_alarm": 2 / 20, "confusion": 0})
    swapped = SECOND.score(said(([["a", 0, 4], ["b", 4, 8]], [["x", 0, 6], ["y", 6, 8]])))
    assert swapped["confusion"] == pytest.approx(2 / 8) == swapped["der"]
    assert SECOND.score(said(([["a", 0, 4], ["a", 2, 6]], [["x", 0, 6]])))["der"] == 0.0


def test_nothing_said_and_nobody_there() -> None:
    assert SECOND.score(said(([["a", 0, 4]], [])))["der"] == 1.0
    assert math.isnan(SECOND.score(said(([], [["x", 0, 1]])))["der"])
    assert SECOND.score(said(([], [["x", 0, 1]]), ([["a", 0, 4]], [["x", 0, 4]])))["der"] == pytest.approx(0.25)


def rows_with(*chances: float, true: str = '[["a", 0, 4]]') -> list[dict[str, object]]:
    return [{"id": "c d", "true": true, "said": "[]", "chances": [[chance, 0.0] for chance in chances]}]


def test_threshold_and_median_are_chosen_by_der() -> None:
    low = rows_with(0.45, 0.45, 0.45, 0.45, 0.35)
    assert SECOND.tune(low) == {"threshold": 0.4, "median": 1}
    assert SECOND.tune(rows_with(0.9, 0.9, 0.9, 0.9)) == {"threshold": 0.5, "median": 1}
    assert tasks.build("diarize(period=1.0, tuned=False)").tune(low) == {}
    reference = tasks.build('diarize(period=1.0, protocol="reference")')
    assert reference.tune(low) == {} and reference.score(low)["der"] == 0.0
    assert SECOND.score(low)["der"] == 1.0
    assert tasks.tuned(SECOND, {"threshold": 0.4, "median": 1}).decode(
        torch.logit(torch.tensor([[[0.45, 0.1]]])), torch.tensor([1]), ()
    )[0]["said"] == '[["1", 0.0, 1.0]]'  # fmt: skip


def test_turns_are_written_as_rttm() -> None:
    row = {"id": "a clip", "said": '[["2", 1.25, 2.0], ["1", 0.5, 1.5]]'}
    assert _turns.rttm([row]).splitlines() == [
        "SPEAKER a_clip 1 0.500 1.000 <NA> <NA> 1 <NA> <NA>",
        "SPEAKER a_clip 1 1.250 0.750 <NA> <NA> 2 <NA> <NA>",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("who", "no list of turns"),
        ('[["a", 1]]', "no list of turns"),
        ('{"a": 1}', "no list of turns"),
        ('[["a", 2, 1]]', "do not end after they start"),
        ('[["a", -1, 1]]', "start before 0"),
        ('[["a", 0, NaN]]', "do not end"),
        ('[["a", 0, 1], ["b", 0, 1], ["c", 0, 1]]', r"has 3 speakers \['a', 'b', 'c'\]"),
    ],
)
def test_turns_that_cannot_be_learnt_are_refused(text: str, message: str) -> None:
    with pytest.raises(CorpusError, match=message):
        SECOND.vocabulary({"train": [*ROWS, {"turns": "[]"}], "test": [{"turns": text}]})


def test_wrong_options_are_refused() -> None:
    for wrong in ("speakers=0", "speakers=9", "median=2", "threshold=1.0", "hidden=0", "period=0.0"):
        with pytest.raises(RecipeError, match="diarize"):
            tasks.build(f"diarize({wrong})")


@needs_espeak
def test_it_learns_dialogues(tmp_path: Path) -> None:
    corpus = few(Dialogues, tmp_path / "clips", {"train": 10, "valid": 2, "test": 2})
    result = learnt(
        "diarize(hidden=64)", corpus, tmp_path / "run", epochs=6, head_lr=0.01, batch_clips=2, validate_epochs=5
    )
    found = result["scores"]["test"]
    assert {*result["chosen"]} == {"threshold", "median"} and found["der"] < 0.5 and found["frame_accuracy"] > 0.7
    run = pegbox.load(tmp_path / "run")
    assert run.evaluate("test") == pytest.approx(found, abs=1e-3)
