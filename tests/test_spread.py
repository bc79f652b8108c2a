"""How importance is distributed: shares by entries, block and role, means over trials, a picture, and refusals."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pegbox import spread
from pegbox.cli import app
from pegbox.errors import RecipeError

CHILD = "child(keep=0.1)"


def report(low: float, kept: int) -> dict[str, Any]:
    """What a measurement leaves of a pool of 400 entries, of which 40 were chosen."""
    block = {"0": [low, 100, kept], "outside": [1 - low, 300, 40 - kept]}
    return {"batches": 2, "mass": {"0.01": low / 2, "1": 1.0}, "block": block, "role": {"q": [1.0, 400, 40]}}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of two seeds."""
    trials = [{"trial": f"seed-{seed}", "method": CHILD, "scores": {}} for seed in (0, 1)]
    (tmp_path / "result.json").write_text(json.dumps({"trials": trials}))
    for number, (trial, each) in enumerate(zip(trials, (report(0.2, 10), report(0.4, 30)), strict=True)):
        (tmp_path / trial["trial"]).mkdir()
        other = {} if number else {"child(keep=0.5)": report(0.9, 40)}
        (tmp_path / trial["trial"] / spread.FILE).write_text(json.dumps(other | {CHILD: each}))
    return tmp_path


def test_shares_are_means_over_the_trials_of_the_chosen_method(run: Path) -> None:
    found = spread.read(run)
    assert (found.methods, found.trials) == ((CHILD,), 2)
    assert found.held == pytest.approx({0.01: 0.15, 1.0: 1.0})
    assert found.blocks["0"] == spread.Part(pytest.approx(0.3), 0.25, 0.5)
    assert found.blocks["outside"] == spread.Part(pytest.approx(0.7), 0.75, 0.5)
    assert found.roles == {"q": spread.Part(1.0, 1.0, 1.0)}


def test_a_single_trial_stands_in_the_run_itself(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text(json.dumps({"method": CHILD, "scores": {}}))
    (tmp_path / spread.FILE).write_text(json.dumps({CHILD: report(0.2, 0)}))
    held, blocks, roles = spread.tables(spread.read(tmp_path))
    assert held[1] == [("1.00%", "10.0%"), ("100.00%", "100.0%")]
    assert blocks[1] == [("0", "25.0%", "20.0%", "0.0%"), ("outside", "75.0%", "80.0%", "100.0%")]
    assert roles[1] == [("q", "100.0%", "100.0%", "100.0%")]


def test_the_command_prints_and_draws(run: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    out = tmp_path / "importance.png"
    done = CliRunner().invoke(app, ["show", str(run), "--importance", str(out)])
    assert done.exit_code == 0, done.output
    assert "means over 2 trials" in done.output and "15.0%" in done.output
    assert out.read_bytes().startswith(b"\x89PNG")
    told = CliRunner().invoke(app, ["show", str(run), "--importance", str(out), "--json"])
    assert json.loads(told.output)["blocks"]["0"]["child"] == 0.5


def test_what_measured_nothing_is_refused(run: Path, tmp_path: Path) -> None:
    (run / "seed-1" / spread.FILE).unlink()
    with pytest.raises(RecipeError, match=r"seed-1.*child\(keep=0.1\) measured no importance"):
        spread.read(run)
    with pytest.raises(RecipeError, match="no finished run here"):
        spread.read(tmp_path / "nowhere")
    (run / "seed-0" / spread.FILE).write_text(json.dumps({"child(keep=0.5)": report(0.9, 40)}))
    with pytest.raises(RecipeError, match="measured no importance"):
        spread.read(run)
