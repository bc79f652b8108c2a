"""Runs that a launcher starts in two processes: the numbers of one process, also when one was interrupted before."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from _crew import in_two

import pegbox
from pegbox.recipe import Recipe, dumps, make
from pegbox.surgery import read_tensors
from pegbox.training import logs
from pegbox.training.loop import Validated


def recipe_of(hubert: Path, tones: Path, **changes: Any) -> Recipe:
    settings = {
        "backbone": str(hubert),
        "task": 'classify(label="class", projection=8)',
        "corpus": f'folder(root="{tones}", valid=0.2, test=0.2)',
        "train": {"steps": 12, "validate_steps": 3, "batch_clips": 5, "accumulate": 2, "head_lr": 1e-2},
    }
    return make(settings | changes)


def launched(recipe: Recipe, out: Path) -> subprocess.CompletedProcess[str]:
    """Two processes on the CPU, as `docs/recipes.md` starts them."""
    out.parent.mkdir(exist_ok=True)
    (file := out.parent / "asked.toml").write_text(dumps(recipe), encoding="utf-8")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "pegbox"]
    order = [*launch, "train", str(file), "--out", str(out), "--json"]
    env = os.environ | {"OMP_NUM_THREADS": "1"} | ({"ACCELERATE_USE_CPU": "true"} if torch.cuda.is_available() else {})
    return subprocess.run(order, capture_output=True, text=True, check=False, timeout=300, env=env)


def rows_of(run: Path) -> list[tuple[str, str, str]]:
    lines = (run / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    return [(row["id"], row["true"], row["said"]) for row in map(json.loads, lines)]


def test_two_processes_end_a_search_as_one_would_have(hubert: Path, tones: Path, tmp_path: Path) -> None:
    search = {"candidates": ["child(keep=0.1, batches=3)", "lora(rank=2)", "weighted_sum"], "rungs": [0.5]}
    recipe = recipe_of(hubert, tones, search=search, seeds=[0, 1])
    one = pegbox.train(recipe, tmp_path / "one")
    looks = []

    def stop(event: Any, folder: Path) -> None:
        looks.extend([event] if isinstance(event, Validated) else [])
        if looks:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pegbox.train(recipe, tmp_path / "two", stop)
    done = launched(recipe, tmp_path / "two")
    assert done.returncode == 0, done.stderr
    two = json.loads(done.stdout)  # printed once
    assert two == json.loads((tmp_path / "two" / "result.json").read_text(encoding="utf-8"))
    for left, right in zip(one["trials"], two["trials"], strict=True):
        alike = ("method", "steps", "best_step", "stopped", "parameters", "corpus", "scores", "cache")
        assert {name: left[name] for name in alike} == {name: right[name] for name in alike}
        assert [row["scores"] for row in left["search"]["table"]] == [row["scores"] for row in right["search"]["table"]]
        runs = [tmp_path / name / left["trial"] for name in ("one", "two")]
        assert rows_of(runs[0]) == rows_of(runs[1])
        tensors = [read_tensors(run / "delta.safetensors")[0] for run in runs]
        for name, tensor in tensors[0].items():
            torch.testing.assert_close(tensor, tensors[1][name], rtol=1e-3, atol=1e-3)
        steps = [row["step"] for row in logs.read(runs[1]) if row["event"] == "step"]
        assert steps == sorted(set(steps)) and steps[-1] == 12
        assert json.loads((runs[1] / "env.json").read_text(encoding="utf-8"))["processes"] == 2


@pytest.mark.skipif(torch.cuda.is_available(), reason="a fork cannot use the GPU of its parent")
@pytest.mark.parametrize("shared", [True, False])
def test_each_process_fills_its_part_of_the_cache(shared: bool, hubert: Path, tones: Path, tmp_path: Path) -> None:
    recipe = recipe_of(hubert, tones, method="lora(rank=2)")
    one = pegbox.train(recipe, tmp_path / "one")
    caches = [tmp_path / ("both" if shared else f"cache-{rank}") for rank in range(2)]
    heard: list[str] = []

    def work() -> tuple[dict[str, Any], int, list[str]]:
        os.environ["PEGBOX_CACHE"] = str(caches[int(os.environ["RANK"])])
        result = pegbox.train(recipe, tmp_path / "two", lambda event, _: heard.append(type(event).__name__))
        return result, heard.count("Cached"), heard

    (first, own, _), (second, _, silent) = in_two(work, tmp_path / "found")
    assert first == second and first["scores"] == one["scores"] and first["cache"].startswith("states")
    clips = sum(first["clips"].values())
    for cache in caches:
        stored = [key for index in cache.rglob("*.json") for key in json.loads(index.read_text(encoding="utf-8"))]
        assert len(stored) == len(set(stored)) == clips
    assert 0 < own < clips and not silent  # one alone tells of its part


def test_what_is_refused_is_said_once_with_its_exit_code(hubert: Path, tones: Path, tmp_path: Path) -> None:
    done = launched(recipe_of(hubert, tones, method="lora(rank=4096)"), tmp_path / "run")
    assert done.returncode != 0 and not done.stdout
    assert done.stderr.count("pegbox: ") == 1 and "rank=4096" in done.stderr
    assert "exitcode  : 2 " in done.stderr  # the launcher has a code of its own
    assert not (tmp_path / "run" / "result.json").exists()
