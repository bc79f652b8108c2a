"""Two runs beside each other: what differs, the paired test, the clips, and what cannot be compared."""

import json
import sys
from pathlib import Path

import pytest
from _recorded import WORDS, record

from pegbox.bench.compare import compare
from pegbox.cli import main
from pegbox.errors import RecipeError

BETTER = [(true, true) for true, _ in WORDS]


def test_a_better_method_is_told_with_its_clips(tmp_path: Path) -> None:
    found = compare(record(tmp_path / "one", BETTER, method="a", epochs=9), record(tmp_path / "two", method="b"))
    assert {(each.name, each.first, each.second) for each in found.settings} == {
        ("method", "a", "b"),
        ("train.epochs", "9", "3"),
    }
    assert found.test and found.test.difference == pytest.approx(1 / 3) and found.test.p < 0.01
    assert found.scores["accuracy"] == (1.0, pytest.approx(2 / 3))
    assert len(found.first_better) == 10 and found.second_better == ()
    assert all(clip.first == clip.true != clip.second for clip in found.first_better)
    assert found.curves["first"].startswith("▁█")


def test_seeds_are_paired_and_their_order_of_clips_does_not_matter(tmp_path: Path) -> None:
    for seed in (0, 1):
        record(tmp_path / "one" / f"seed-{seed}", BETTER, seed=seed)
        turned = record(tmp_path / "two" / f"seed-{seed}", seed=seed, method="b") / "predictions.jsonl"
        turned.write_text("".join(line + "\n" for line in reversed(turned.read_text().splitlines())))
    record(tmp_path / "two" / "seed-2", seed=2, method="b")
    found = compare(tmp_path / "one", tmp_path / "two")
    assert found.trials == 2 and len(found.first_better) == 20
    assert found.test and found.test.units == 30 and found.test.difference == pytest.approx(1 / 3)


def test_texts_are_compared_by_their_edits(tmp_path: Path) -> None:
    said = [("a b c d", "a b c d"), ("e f", "e")]
    other = [("a b c d", "a b"), ("e f", "e f")]
    made = {"metric": "wer", "task": "ctc"}
    found = compare(
        record(tmp_path / "1", said, score=1 / 6, **made), record(tmp_path / "2", other, score=2 / 6, **made)
    )
    assert found.better == "min" and found.test and found.test.difference == pytest.approx(-1 / 6)
    assert [clip.id for clip in found.first_better] == ["clip 0"]
    assert [clip.id for clip in found.second_better] == ["clip 1"]


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"said": WORDS[:10]}, "different clips: 20"),
        ({"metric": "wer", "task": "ctc", "score": 0.5}, "different scores"),
    ],
)
def test_what_cannot_be_compared_is_refused(tmp_path: Path, other: dict[str, object], said: str) -> None:
    record(tmp_path / "one")
    record(tmp_path / "two", **other)  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match=said):
        compare(tmp_path / "one", tmp_path / "two")


def test_missing_predictions_and_several_recipes_are_refused(tmp_path: Path) -> None:
    one, two = record(tmp_path / "both" / "one", method="a"), record(tmp_path / "both" / "two", method="b")
    with pytest.raises(RecipeError, match="several recipes"):
        compare(tmp_path / "both", one)
    (two / "predictions.jsonl").unlink()
    with pytest.raises(RecipeError, match=r"predictions\.jsonl is missing"):
        compare(one, two)


def test_no_seed_in_common_is_refused(tmp_path: Path) -> None:
    for seed in (0, 1):
        record(tmp_path / "one" / str(seed), seed=seed)
        record(tmp_path / "two" / str(seed), seed=seed + 5)
    with pytest.raises(RecipeError, match="no seed and fold in common"):
        compare(tmp_path / "one", tmp_path / "two")


def test_the_commands_print_and_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = record(tmp_path / "runs" / "[one]", BETTER), record(tmp_path / "runs" / "two", method="b")
    monkeypatch.setattr(sys, "argv", ["pegbox", "compare", str(one), str(two), "--clips", "2"])
    with pytest.raises(SystemExit):
        main()
    told = capsys.readouterr().out
    assert "better by 0.3333" in told and "clips on which the first is better: 10" in told and "clip 1" in told
    monkeypatch.setattr(sys, "argv", ["pegbox", "compare", str(one), str(two), "--json"])
    with pytest.raises(SystemExit):
        main()
    assert json.loads(capsys.readouterr().out)["test"]["units"] == 30
    monkeypatch.setattr(sys, "argv", ["pegbox", "report", str(tmp_path / "runs"), "--out", str(tmp_path / "report")])
    with pytest.raises(SystemExit):
        main()
    assert "index.html: open it in a browser" in capsys.readouterr().out
    assert (tmp_path / "report" / "report.tex").exists()
