"""A matrix from the command line: the same table whatever happens to the processes, here and on a cluster."""

import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import tomlkit

from pegbox.bench import local, matrix
from pegbox.bench.board import Board
from pegbox.bench.mirror import Mirror
from pegbox.bench.progress import see
from pegbox.bench.store import Store
from pegbox.bench.tables import lines, written
from pegbox.bench.work import perform
from pegbox.cli import main
from pegbox.cli_bench import share
from pegbox.errors import PegboxError, RecipeError
from pegbox.training.session import Shelf


@pytest.fixture(scope="module")
def file(hubert: Path, tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two methods, a rate sweep, two seeds: five runs of some seconds together."""
    settings = {
        "name": "tones",
        "backbones": [str(hubert)],
        "methods": ["weighted_sum", "lora(rank=2)"],
        "seeds": [0, 1],
        "train": {"steps": 40, "validate_steps": 10, "batch_clips": 8},
        "tasks": [{"name": "pitch", "task": 'classify(label="class")', "corpus": f'folder(root="{tones}")'}],
        "override": [{"methods": ["lora"], "rates": [1.0, 3.0]}],
    }
    path = tmp_path_factory.mktemp("matrix") / "tones.toml"
    path.write_text(tomlkit.dumps(settings))
    return path


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs the command in this process, where torch is imported already; returns what it printed."""

    def call(file: Path, out: Path, *words: str, code: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["pegbox", "bench", str(file), "--out", str(out), *words])
        capfd.readouterr()
        try:
            main()
            found = 0
        except SystemExit as stop:
            found = int(stop.code or 0)
        said, told = capfd.readouterr()
        assert found == code, told
        return said + told

    return call


def board_of(file: Path, out: Path, **changes: Any) -> Board:
    groups = matrix.groups(replace(matrix.read(file), **changes))
    return Board(groups, Store(out), "only-missing", dict.fromkeys((each.key for each in groups), 1e8), 1e12)


def results(out: Path) -> dict[str, Any]:
    """Returns what each run's result says that does not depend on the clock or the machine."""
    kept = ("scores", "best_step", "steps", "parameters", "method", "seed")
    found = {path.parent.name: json.loads(path.read_text()) for path in out.glob("runs/*/result.json")}
    return {name: {key: result[key] for key in kept} for name, result in found.items()}


@pytest.fixture(scope="module")
def unbroken(file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same runs, one after the other in this process."""
    out = tmp_path_factory.mktemp("unbroken")
    board, shelf = board_of(file, out), Shelf()
    while (cell := board.take()) is not None:
        board.give(cell, perform(cell, board.store, shelf))
    board.store.keep(matrix.read(file), board.total(), 1, {})
    return out


def test_a_matrix_prints_its_table(unbroken: Path, file: Path, bench: Callable[..., str]):
    said = bench(file, unbroken, "--existing", "only-cache")
    assert len(results(unbroken)) == 5 and "lora(rank=2)" in said and "±" in said
    cells = [json.loads(path.read_text()) for path in unbroken.glob("runs/*/cell.json")]
    assert sorted(cell["role"] for cell in cells) == ["final"] * 4 + ["sweep"]
    sight = see(unbroken)
    assert (sight.done, sight.failed, sight.left, sight.running) == (5, 0, 0, [])
    assert "best on pitch" in dict(sight.told())


def test_killed_in_the_middle_and_started_again_it_ends_with_the_same_numbers(
    unbroken: Path, file: Path, tmp_path: Path, bench: Callable[..., str]
):
    command = [sys.executable, "-m", "pegbox", "bench", str(file), "--out", str(tmp_path), "--workers", "1"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _wait(lambda: any(tmp_path.glob("runs/*/result.json")))
    time.sleep(0.1)  # into the middle of the next run
    for each in (*psutil.Process(process.pid).children(recursive=True), process):
        each.kill()
    process.wait()
    finished = {path: path.stat().st_mtime_ns for path in tmp_path.glob("runs/*/result.json")}
    said = bench(file, tmp_path, "--workers", "2")
    assert f"{len(finished)} of 5 runs are finished already" in said and "5 of 5 runs finished" in said
    assert results(tmp_path) == results(unbroken)
    assert all(path.stat().st_mtime_ns == moment for path, moment in finished.items())


def test_a_process_that_dies_costs_its_run_alone(file: Path, tmp_path: Path):
    board, told = board_of(file, tmp_path, methods=["bitfit"]), []

    def kill() -> None:
        _wait(lambda: any(tmp_path.glob("runs/*/log.jsonl")))
        psutil.Process().children()[-1].kill()

    killer = threading.Thread(target=kill)
    killer.start()
    local.work(board, 1, lambda cell, outcome: told.append(outcome))
    killer.join()
    assert sorted(outcome.state for outcome in told) == ["done", "failed"] and len(board.done) == 1
    problem = json.loads(next(tmp_path.glob("runs/*/error.json")).read_text())
    assert problem["kind"] == "Died" and "SIGKILL" in problem["message"]


def test_a_run_that_fails_is_recorded_and_the_others_go_on(
    unbroken: Path, file: Path, tmp_path: Path, bench: Callable[..., str]
):
    shutil.copytree(unbroken, tmp_path, dirs_exist_ok=True)
    broken = 'override=[{methods=["lora"], train={delta_lr=1e30}}]'
    said = bench(file, tmp_path, "--workers", "1", "--set", broken, code=7)
    assert said.count("failed:") == 4 and "lower the learning rate" in said
    assert see(tmp_path).failed == 2 and "2 of 4 runs are finished already" in said


def test_what_cannot_be_is_skipped_with_its_reason(file: Path, tmp_path: Path, bench: Callable[..., str]):
    said = bench(file, tmp_path / "x", "--plan", "--method", "lora(rank=5000)", "--method", "bitfit")
    assert "skipped: lora(rank=5000) on pitch" in said and "1 combinations" in said and not (tmp_path / "x").exists()
    assert "none of its runs can be" in bench(file, tmp_path, "--method", "lora(rank=5000)", code=2)
    assert "from 1 to n" in bench(file, tmp_path, "--part", "3/2", code=2)


@pytest.mark.parametrize("words", [("--address", "x"), ("--cpus", "2"), ("--gpus", "1")])
def test_what_only_a_cluster_heeds_is_refused_here(
    words: tuple[str, str], file: Path, tmp_path: Path, bench: Callable[..., str]
):
    assert "they need --on ray" in bench(file, tmp_path, *words, code=2)


def test_shares_are_apart_and_together_all(file: Path, tmp_path: Path):
    groups = matrix.groups(matrix.read(file))
    parts = [share(groups, f"{i}/3") for i in (1, 2, 3)]
    assert sorted(each.key for part in parts for each in part) == sorted(each.key for each in groups)


def test_a_script_for_slurm_does_all_shares(file: Path, tmp_path: Path, bench: Callable[..., str]):
    said = bench(file, tmp_path, "--emit", "slurm", "--workers", "3", "--cpus", "2", "--gpus", "0.5")
    assert "#SBATCH --array=1-2\n#SBATCH --cpus-per-task=2" in said and "--gres=gpu:1" in said
    last = said.strip().splitlines()[-1]
    assert last.startswith(f"pegbox bench {file} --out {tmp_path} --cpus 2 --gpus 0.5 --workers 1 --part")
    assert last.endswith('"$SLURM_ARRAY_TASK_ID/2"')
    subprocess.run(["bash", "-n"], input=said, text=True, check=True)


def test_a_mirror_holds_all_and_gives_it_back(unbroken: Path, file: Path, tmp_path: Path, bench: Callable[..., str]):
    mirror = Mirror(f"file://{tmp_path}/far")
    for place in unbroken.glob("runs/*"):
        mirror.send(place)
    here = tmp_path / "here"
    said = bench(file, here, "--mirror", mirror.address, "--workers", "1")
    assert "5 of 5 runs are finished already" in said and results(here) == results(unbroken)
    with pytest.raises(PegboxError, match="cannot be reached or written"):
        Mirror("nowhere://x").send(unbroken)


def test_a_cluster_of_two_nodes_loses_a_worker_and_ends_with_the_same_numbers(
    unbroken: Path, file: Path, tmp_path: Path
):
    cluster_utils = pytest.importorskip("ray.cluster_utils", reason="ray is not installed")
    from pegbox.bench import ray

    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    board = board_of(file, tmp_path)

    killed: list[int] = []

    def kill() -> None:
        _wait(lambda: any(tmp_path.glob("runs/*lora*/log.jsonl")), 300)
        _wait(killed_one)

    def killed_one() -> bool:
        words = [(each, " ".join(each.info["cmdline"] or ())) for each in psutil.process_iter(["cmdline"])]
        for each in (each for each, line in words if "ray::_perform" in line):
            each.kill()
            killed.append(each.pid)
            return True
        return False

    killer = threading.Thread(target=kill)
    try:
        cluster.add_node(num_cpus=1)
        killer.start()
        ray.work(board, 1, 0, cluster.address, lambda cell, outcome: None)
        killer.join()
    finally:
        cluster.shutdown()
    assert killed and board.over and not board.failed and results(tmp_path) == results(unbroken)


def test_what_a_cluster_cannot_give_is_refused(file: Path, tmp_path: Path):
    ray = pytest.importorskip("ray", reason="ray is not installed")
    from pegbox.bench import ray as on_ray

    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
    try:
        with pytest.raises(RecipeError, match="asks for 64 cores and 0 GPUs, no node has them: 1 cores"):
            on_ray.work(board_of(file, tmp_path), 64, 0, "", lambda cell, outcome: None)
    finally:
        ray.shutdown()


def test_no_more_runs_at_once_than_workers_on_a_cluster(file: Path, tmp_path: Path):
    ray = pytest.importorskip("ray", reason="ray is not installed")
    from pegbox.bench import ray as on_ray

    board, beside = board_of(file, tmp_path, methods=["weighted_sum"]), []
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        on_ray.work(board, 1, 0, "", lambda cell, outcome: beside.append(len(board.running)), most=1)
    finally:
        ray.shutdown()
    assert beside == [0, 0] and len(board.done) == 2


def test_watch_says_where_no_matrix_is(tmp_path: Path):
    with pytest.raises(RecipeError, match="no matrix runs here"):
        see(tmp_path)


def test_a_field_that_is_missing_is_a_dash():
    assert written(None) == "–"


def test_lines_hold_what_a_table_shows(unbroken: Path, file: Path):
    cells = [cell for group in matrix.groups(matrix.read(file)) for rate in group.rates for cell in group.finals(rate)]
    found = {line.method: line for line in lines(cells, Store(unbroken))}
    assert found["weighted_sum"].parameters == 0 < found["lora(rank=2)"].parameters
    assert len(found["weighted_sum"].scores["pitch"].runs) == 2
    assert sorted(line.rank for line in found.values()) in ([1.0, 2.0], [1.5, 1.5])


def _wait(seen: Any, limit: float = 120.0) -> None:
    started = time.monotonic()
    while not seen():
        assert time.monotonic() - started < limit, "nothing came of it"
        time.sleep(0.02)
