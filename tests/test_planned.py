"""What a matrix lacks, as a report lists it: which runs are going on, wait, failed, or cannot be."""

import csv
import json
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from _recorded import record

from pegbox.bench import matrix
from pegbox.bench.board import Board
from pegbox.bench.matrix import Cell
from pegbox.bench.planned import planned
from pegbox.bench.report import write
from pegbox.bench.report.read import collect
from pegbox.bench.store import Store
from pegbox.bench.work import Outcome

SETTINGS: dict[str, Any] = {
    "name": "small",
    "backbones": ["/models/tiny"],
    "methods": ["linear_probe", "lora", "bitfit"],
    "seeds": [0, 1],
    "tasks": [{"name": "music", "task": 'classify(label="genre")', "corpus": 'folder(root="{data}/music")'}],
    "override": [{"methods": ["lora"], "rates": [1.0, 3.0]}],
}


def board_of(out: Path, **changes: Any) -> Board:
    """Returns the board of a matrix whose `bitfit` cannot be, with what the folder keeps of it."""
    made = matrix.make(SETTINGS | changes)
    groups = matrix.groups(made, "/data")
    possible = [group for group in groups if group.method != "bitfit"]
    board = Board(possible, Store(out), "only-missing", {group.key: 1.0 for group in groups}, math.inf)
    refused = {group.key: "it cannot be" if group.method == "bitfit" else "" for group in groups}
    board.store.keep(made, board.total(), 1, refused)
    return board


def finish(board: Board, cell: Cell) -> None:
    """Puts a finished run where one was begun."""
    place = board.store.place(cell)
    for path in place.iterdir():
        path.unlink()
    place.rmdir()
    record(place, method=cell.method, seed=cell.seed, cell=cell.fields, score=0.5)
    result = json.loads((place / "result.json").read_text())
    result["scores"]["valid"] = result["scores"]["test"]
    (place / "result.json").write_text(json.dumps(result))
    board.give(cell, Outcome("done", 1.0))


def states(out: Path) -> list[tuple[str, str, int, float]]:
    return [(each.state, each.place.method, each.place.seed, each.place.rate) for each in planned(out)]


def test_before_anything_has_run_all_of_it_waits(tmp_path: Path) -> None:
    board_of(tmp_path)
    *some, last, skipped = states(tmp_path)
    assert some == [
        ("waiting", "linear_probe", 0, 1.0),
        ("waiting", "linear_probe", 1, 1.0),
        ("waiting", "lora", 0, 1.0),
        ("waiting", "lora", 0, 3.0),
    ]
    assert last[:3] == ("waiting", "lora", 1) and math.isnan(last[3]), "its rate is not chosen yet"
    assert skipped[:2] == ("skipped", "bitfit")
    assert {each.place.backbone for each in planned(tmp_path)} == {"tiny"}, "no path of some machine"


def test_states_follow_what_happens(tmp_path: Path) -> None:
    board = board_of(tmp_path)
    first = board.take()
    assert first is not None
    with board.store.lock(first):
        assert states(tmp_path)[0] == ("running", "linear_probe", 0, 1.0)
    assert states(tmp_path)[0][0] == "waiting"
    finish(board, first)
    second = board.take()
    assert second is not None
    board.store.fail(second, "NonFiniteError", "the loss is nan")
    board.give(second, Outcome("failed", 1.0, "the loss is nan"))
    found = collect([tmp_path])
    assert found.counts == {"done": 1, "failed": 1, "running": 0, "waiting": 3, "skipped": 1}


def test_a_chosen_rate_is_known_and_all_failed_rates_leave_nothing_to_wait_for(tmp_path: Path) -> None:
    board = board_of(tmp_path / "chosen", methods=["lora"])
    for _ in range(2):
        cell = board.take()
        assert cell is not None
        finish(board, cell)
    assert states(tmp_path / "chosen") == [("waiting", "lora", 1, 1.0)]
    board = board_of(tmp_path / "failed", methods=["lora"])
    while (cell := board.take()) is not None:
        board.store.fail(cell, "NonFiniteError", "the loss is nan")
        board.give(cell, Outcome("failed", 1.0, "the loss is nan"))
    assert states(tmp_path / "failed") == []


def test_shares_of_a_matrix_keep_what_others_have_said(tmp_path: Path) -> None:
    made, store = matrix.make(SETTINGS), Store(tmp_path)
    one, two = ("music", "/models/tiny", "bitfit"), ("music", "/models/tiny", "lora")
    store.keep(made, 5, 1, {one: "no", two: "too large"})
    store.keep(made, 5, 1, {two: ""})
    assert [each.place.method for each in planned(tmp_path) if each.state == "skipped"] == ["bitfit"]


def test_the_report_lists_and_counts_them(tmp_path: Path) -> None:
    board = board_of(tmp_path / "runs")
    cell = board.take()
    assert cell is not None
    finish(board, cell)
    files = write([tmp_path / "runs"], tmp_path / "report")
    assert "planned.csv" in [path.name for path in files]
    told = (tmp_path / "report" / "report.md").read_text()
    assert "| done | failed | running | waiting | skipped |\n| ---: | ---: | ---: | ---: | ---: |" in told
    assert "| 1 | 0 | 0 | 4 | 1 |" in told and "it cannot be" in told
    with (tmp_path / "report" / "planned.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["rate"] for row in rows] == ["1", "1", "3", "", ""] and rows[-1]["seed"] == ""
    text = (tmp_path / "report" / "index.html").read_text()
    (held,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    data = json.loads(held)
    assert data["counts"]["waiting"] == 4 and data["planned"][-2]["rate"] is None
    assert [each["reason"] for each in data["planned"]][-1] == "it cannot be"


def test_a_folder_whose_matrix_cannot_be_read_says_so(tmp_path: Path) -> None:
    board_of(tmp_path)
    (tmp_path / "matrix.toml").write_text("name = ")
    (failed,) = collect([tmp_path]).failed
    assert failed.name == "matrix.toml" and "not a readable TOML" in failed.message


@pytest.mark.parametrize("name", ["pegbox.bench.planned", "pegbox.bench.report"])
def test_a_report_needs_no_torch(name: str) -> None:
    code = f"import sys, {name}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
