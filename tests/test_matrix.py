"""Matrices: what a file means, which runs it has, and which of its mistakes are said."""

import json
from pathlib import Path
from typing import Any

import pytest

from pegbox.bench import matrix
from pegbox.bench.board import Board
from pegbox.bench.matrix import Cell, Matrix
from pegbox.bench.store import Store
from pegbox.bench.work import Outcome
from pegbox.errors import PegboxError, RecipeError

FILE: dict[str, Any] = {
    "name": "small",
    "backbones": ["tiny"],
    "methods": ["linear_probe", "lora(rank=4) + bitfit"],
    "seeds": [0, 1],
    "train": {"epochs": 3},
    "tasks": [
        {"name": "music", "task": 'classify(label="genre")', "corpus": "synthetic_music", "train": {"epochs": 2}},
        {"name": "sounds", "task": 'classify(label="event")', "corpus": "synthetic_sounds", "folds": [1, 2]},
        {"name": "keys", "task": 'classify(label="key")', "corpus": "synthetic_music"},
    ],
}
SWEPT = {"override": [{"methods": ["lora"], "tasks": ["music"], "rates": [0.3, 1.0, 3.0], "train": {"clip": 2.0}}]}


def made(**changes: Any) -> Matrix:
    return matrix.make(FILE | changes)


def board_of(place: Path, existing: Any = "only-missing", room: float = 1e12, **changes: Any) -> Board:
    groups = matrix.groups(made(**changes))
    return Board(groups, Store(place), existing, {group.key: 1e9 for group in groups}, room)


def finish(board: Board, cell: Cell, score: float | None = 0.5, better: str = "max") -> None:
    """Writes what a run leaves, and says that it is done."""
    scores = {"valid": {"accuracy": score}, "test": {"accuracy": score}}
    result = {"metric": "accuracy", "better": better, "scores": scores}
    (board.store.place(cell) / "result.json").write_text(json.dumps(result))
    board.give(cell, Outcome("done", 1.0))


def drain(board: Board, scores: dict[float, float]) -> list[Cell]:
    """Does every run of a board; a run's score is that of its rate."""
    seen = []
    while (cell := board.take()) is not None:
        seen.append(cell)
        finish(board, cell, scores.get(cell.rate, 0.5))
    return seen


def test_a_matrix_is_the_product_of_its_axes():
    cells = [cell for group in matrix.groups(made()) for cell in group.finals(1.0)]
    assert len(cells) == 2 * (2 + 4 + 2)  # methods × (seeds, seeds × folds, seeds)
    assert len({cell.name for cell in cells}) == len({cell.identity for cell in cells}) == len(cells)
    assert {cell.recipe.train.epochs for cell in cells if cell.task == "music"} == {2}
    assert {cell.recipe.train.epochs for cell in cells if cell.task != "music"} == {3}


def test_tasks_on_one_corpus_stand_beside_each_other():
    order = [group.entry.name for group in matrix.groups(made(methods=["lora"]))]
    assert order == ["music", "keys", "sounds"]


def test_an_override_concerns_the_runs_that_all_its_patterns_match():
    groups = {group.key: group for group in matrix.groups(made(**SWEPT))}
    met = groups["music", "tiny", "lora(rank=4) + bitfit"]
    assert met.rates == (0.3, 1.0, 3.0) and met.cell(0, None, 1.0).recipe.train.clip == 2.0
    for key in set(groups) - {met.key}:
        assert groups[key].rates == (1.0,) and groups[key].cell(0, None, 1.0).recipe.train.clip == 1.0


OWN = [FILE["tasks"][0] | {"methods": ["houlsby", "lora(rank=2)"]}, FILE["tasks"][1]]


def test_the_methods_of_a_task_stand_in_place_of_the_matrix() -> None:
    found = [group.key for group in matrix.groups(made(tasks=OWN))]
    own = [("music", "tiny", method) for method in ("houlsby", "lora(rank=2)")]
    assert found == own + [("sounds", "tiny", method) for method in FILE["methods"]]
    assert [group.key for group in matrix.groups(made(tasks=OWN[:1], methods=[]))] == own
    with pytest.raises(RecipeError, match="no methods"):
        matrix.groups(made(tasks=OWN, methods=[]))


def test_the_seeds_of_a_task_stand_in_place_of_the_matrix():
    own = made(tasks=[FILE["tasks"][0] | {"seeds": [7], "folds": [1, 2]}], seeds=[0, 1])
    assert {group.trials == [(7, 1), (7, 2)] for group in matrix.groups(own)} == {True}


def test_a_backbone_lies_where_the_data_lie():
    (group, *_) = matrix.groups(made(backbones=["{data}/encoder"]), "/here")
    assert group.cell(0, None, 1.0).recipe.backbone == "/here/encoder"


def test_methods_of_the_command_line_hold_for_every_task(tmp_path: Path) -> None:
    found = matrix.groups(matrix.under(made(tasks=OWN), ["bitfit"]))
    assert [(group.entry.name, group.method) for group in found] == [("music", "bitfit"), ("sounds", "bitfit")]
    alike = matrix.groups(made(tasks=[FILE["tasks"][0], OWN[1]], methods=["bitfit"]))
    assert [each.cell(0, None, 1.0).identity for each in found] == [e.cell(0, None, 1.0).identity for e in alike]
    Store(tmp_path).keep(made(tasks=OWN), 1, 1, {})
    assert matrix.read(tmp_path / "matrix.toml") == made(tasks=OWN)
    with pytest.raises(RecipeError, match="'bitfit' stands there twice"):
        matrix.under(made(), ["bitfit", "bitfit"])


def test_the_identity_of_a_run_knows_no_place():
    here, there = (
        matrix.groups(made(tasks=[FILE["tasks"][0] | {"corpus": 'folder(root="{data}/x")'}]), data)[0].cell(
            0, None, 1.0
        )
        for data in ("/a", "/b")
    )
    assert here.identity == there.identity and here.name == there.name
    assert here.recipe.corpus == 'folder(root="/a/x")' != there.recipe.corpus


def test_a_rate_of_one_is_no_setting():
    group = matrix.groups(made())[0]
    assert group.cell(0, None, 1.0).recipe.train.rate == 1.0
    assert len({group.cell(0, None, rate).identity for rate in (0.5, 1.0, 2.0)}) == 3


def test_the_best_rate_on_validation_runs_with_every_seed(tmp_path: Path):
    board = board_of(tmp_path, **SWEPT)
    seen = drain(board, {0.3: 0.4, 1.0: 0.6, 3.0: 0.9})
    key = ("music", "tiny", "lora(rank=4) + bitfit")
    assert board.rates[key] == 3.0 and board.over
    assert sorted((cell.seed, cell.rate) for cell in seen if cell.key == key) == [
        (0, 0.3),
        (0, 1.0),
        (0, 3.0),
        (1, 3.0),
    ]
    assert len(seen) == len({cell.name for cell in seen}) == board.total()
    roles = {path.parent.name: json.loads(path.read_text())["role"] for path in tmp_path.glob("runs/*/cell.json")}
    assert sum(role == "sweep" for role in roles.values()) == 2  # those rates that were not chosen


@pytest.mark.parametrize(
    ("scores", "chosen"),
    [
        ({0.3: 0.5, 1.0: 0.5, 3.0: 0.5}, 1.0),
        ({0.3: float("nan"), 1.0: float("nan"), 3.0: 0.1}, 3.0),
        ({0.3: 0.7, 1.0: float("nan"), 3.0: 0.6}, 0.3),
    ],
)
def test_a_tie_goes_to_the_own_rate_and_no_number_loses(tmp_path: Path, scores: dict[float, float], chosen: float):
    board = board_of(tmp_path, **SWEPT)
    drain(board, scores)
    assert board.rates["music", "tiny", "lora(rank=4) + bitfit"] == chosen


def test_a_failed_rate_loses_and_all_failed_rates_end_the_group(tmp_path: Path):
    board = board_of(tmp_path, methods=["lora"], tasks=FILE["tasks"][:1], **SWEPT)
    for _ in range(3):
        cell = board.take()
        assert cell is not None
        board.give(cell, Outcome("failed", 1.0, "it does not train"))
    assert board.over and not board.finals() and len(board.failed) == 3


def test_what_is_finished_is_not_handed_out_again(tmp_path: Path):
    drain(board_of(tmp_path, **SWEPT), {3.0: 0.9})
    again = board_of(tmp_path, **SWEPT)
    assert again.over and len(again.done) == again.total()
    assert again.rates["music", "tiny", "lora(rank=4) + bitfit"] == 3.0


def test_existing_runs_are_kept_refused_replaced_or_only_shown(tmp_path: Path):
    first = board_of(tmp_path)
    cell = first.take()
    assert cell is not None
    finish(first, cell)
    with pytest.raises(RecipeError, match="holds 16 of these runs already"):
        board_of(tmp_path, "never")
    shown = board_of(tmp_path, "only-cache")
    assert shown.over and len(shown.done) == 1 and set(shown.failed.values()) == {"not run yet"}
    assert len(board_of(tmp_path).waiting) == 15
    anew = board_of(tmp_path, "always")
    assert len(anew.waiting) == 16 and first.store.state(cell) == "begun"


def test_a_failed_run_is_tried_again(tmp_path: Path):
    board = board_of(tmp_path)
    cell = board.take()
    assert cell is not None
    board.store.fail(cell, "OSError", "no room")
    assert board.store.state(cell) == "failed" and board.store.problem(cell) == "no room"
    assert cell.name in {each.name for each in board_of(tmp_path).waiting} and board.store.state(cell) == "begun"


def test_a_worker_is_given_what_shares_most_with_its_last_run(tmp_path: Path):
    board = board_of(tmp_path)
    first = board.take()
    other = board.take()
    assert first is not None and other is not None
    assert first.recipe.corpus != other.recipe.corpus  # two workers begin on different corpora
    for last in (first, other):
        following = board.take(last)
        assert following is not None and following.recipe.corpus == last.recipe.corpus


def test_runs_at_once_fit_the_memory_and_one_alone_always_runs(tmp_path: Path):
    board = board_of(tmp_path, room=2.5e9)
    assert board.take() and board.take() and board.take() is None
    assert board_of(tmp_path, room=1.0).take() is not None


def test_a_run_that_another_process_holds_waits(tmp_path: Path):
    board = board_of(tmp_path)
    cell = board.take()
    assert cell is not None
    board.give(cell, Outcome("elsewhere", 0.0))
    assert cell in board.waiting and not board.running


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"metods": []}, "unknown key 'metods'; did you mean 'methods'"),
        ({"seeds": []}, "at least one seed"),
        ({"seeds": [0, 0]}, "seeds: 0 stands there twice"),
        ({"rates": [0.0]}, "rates above zero"),
        ({"seeds": "all"}, "'seeds': expected a list"),
        ({"methods": ["lora", "lora"]}, "methods: 'lora' stands there twice"),
        ({"tasks": [OWN[0] | {"methods": ["lora", "lora"]}]}, "methods of 'music': 'lora' stands there twice"),
        ({"tasks": [OWN[0] | {"seeds": [1, 1]}]}, "seeds of 'music': 1 stands there twice"),
        ({"tasks": {}}, r"written as \[\[tasks\]\]"),
        ({"tasks": [{"name": "x"}]}, "missing .* 'task' and 'corpus'"),
        ({"tasks": [FILE["tasks"][0], FILE["tasks"][0]]}, "'music' stands there twice"),
        ({"tasks": [FILE["tasks"][0] | {"traim": {}}]}, "tasks: unknown key 'traim'"),
        ({"override": [{"train": 3}]}, "is a table of settings"),
    ],
)
def test_mistakes_of_a_file_are_said(changes: dict[str, Any], said: str):
    with pytest.raises(RecipeError, match=said):
        made(**changes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"methods": []}, "no methods; name some in the file, or --method SPEC"),
        ({"methods": ["loar"]}, "unknown name 'loar'"),
        ({"train": {"epoch": 3}}, "unknown setting 'train.epoch'"),
        ({"tasks": [FILE["tasks"][0] | {"corpus": 'folder(root="{data}")'}]}, "music: {data} is not known; say where"),
        ({"backbones": ["{data}/encoder"]}, "{data}/encoder: {data} is not known; say where with --data DIR"),
    ],
)
def test_mistakes_of_its_runs_are_said(changes: dict[str, Any], said: str):
    with pytest.raises(RecipeError, match=said):
        matrix.groups(made(**changes))


def test_a_matrix_is_written_and_read_again(tmp_path: Path):
    whole = made(**SWEPT)
    Store(tmp_path).keep(whole, 1, 1, {})
    assert matrix.read(tmp_path / "matrix.toml") == whole


def test_an_unknown_file_names_the_suites():
    with pytest.raises(PegboxError, match="no such file, and no suite of that name"):
        matrix.read("synthetik")
