"""A head trained alone first: the probe's own numbers, the start of every candidate, whole after any interruption."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from _same import ends_alike_after_a_cut, ends_alike_in_two

import pegbox
from pegbox.errors import RecipeError
from pegbox.recipe import Recipe, make
from pegbox.surgery import read_tensors
from pegbox.training.contest import Contest
from pegbox.training.headstart import HEAD, STATE, Headed
from pegbox.training.loop import Step, Validated
from pegbox.training.plans import plan
from pegbox.training.trial import Started


def recipe_of(hubert: Path, tones: Path, train: dict[str, Any], **changes: Any) -> Recipe:
    settings = {
        "backbone": str(hubert),
        "method": "lora(rank=2)",
        "task": 'classify(label="class", projection=8)',
        "corpus": f'folder(root="{tones}", valid=0.2, test=0.2)',
        "train": {"epochs": 3, "batch_clips": 5, "head_lr": 1e-2, **train},
    }
    return make(settings | changes)


def test_it_is_the_probe_that_the_same_settings_train(hubert: Path, tones: Path, tmp_path: Path) -> None:
    def stop(event: Any, _: Path) -> None:
        if isinstance(event, Started):
            raise KeyboardInterrupt

    probe = pegbox.train(recipe_of(hubert, tones, {"epochs": 4}, method="weighted_sum"), tmp_path / "probe")
    mixed = {"epochs": 2, "head_epochs": 4, "mixup": 0.5, "milestones": [1]}
    with pytest.raises(KeyboardInterrupt):
        pegbox.train(recipe_of(hubert, tones, mixed), tmp_path / "lora", stop)
    one, about = read_tensors(tmp_path / "lora" / HEAD)
    other, _ = read_tensors(tmp_path / "probe" / "delta.safetensors")
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    assert about["steps"] == probe["steps"] and about["best_step"] == probe["best_step"]
    assert about["valid"] == {"accuracy": probe["scores"]["valid"]["accuracy"]}


def test_it_is_told_and_leaves_nothing_behind(hubert: Path, tones: Path, tmp_path: Path) -> None:
    result = pegbox.train(recipe_of(hubert, tones, {"steps": 1, "head_epochs": 6}), tmp_path / "run")
    assert result["head_start"]["steps"] == 6 * 5 and 0 < result["head_start"]["best_step"] <= 30
    assert result["seconds"]["head"] > 0
    assert not {HEAD, STATE} & {path.name for path in (tmp_path / "run").iterdir()}


@pytest.mark.parametrize("method", ["lora(rank=2, dropout=0.1)", "child(keep=0.1, batches=2)"])
def test_an_interruption_of_the_method_changes_nothing(hubert: Path, tones: Path, tmp_path: Path, method: str) -> None:
    ends_alike_after_a_cut(recipe_of(hubert, tones, {"head_epochs": 3}, method=method), tmp_path)


def test_an_interruption_of_the_head_changes_nothing(hubert: Path, tones: Path, tmp_path: Path) -> None:
    def stop(event: Any, _: Path) -> None:
        if isinstance(event, Headed) and isinstance(event.event, Validated) and event.event.epoch == 1:
            raise KeyboardInterrupt

    heard: list[int] = []

    def listen(event: Any, _: Path) -> None:
        if isinstance(event, Headed) and isinstance(event.event, Step):
            heard.append(event.event.epoch)

    recipe = recipe_of(hubert, tones, {"head_epochs": 4})
    whole = pegbox.train(recipe, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        pegbox.train(recipe, tmp_path / "cut", stop)
    assert pegbox.train(recipe, tmp_path / "cut", listen)["scores"] == whole["scores"]
    assert set(heard) == {2, 3}  # what was done is not done again
    one, other = (read_tensors(tmp_path / name / "delta.safetensors")[0] for name in ("whole", "cut"))
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_two_processes_start_with_one_head(hubert: Path, tones: Path, tmp_path: Path) -> None:
    ends_alike_in_two(recipe_of(hubert, tones, {"epochs": 1, "head_epochs": 2, "warmup": 0.0}), tmp_path)


def test_all_candidates_start_with_it(
    hubert: Path, tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def keep(contest: Contest, *rest: Any) -> None:
        heads.extend(deepcopy(each.model.head.state_dict()) for each in contest.entrants)
        start(contest, *rest)

    probe = pegbox.train(recipe_of(hubert, tones, {"epochs": 2}, method="weighted_sum"), tmp_path / "probe")
    heads: list[dict[str, torch.Tensor]] = []
    start = Contest.start
    monkeypatch.setattr(Contest, "start", keep)
    search = {"candidates": ["lora(rank=2)", "bitfit", "weighted_sum"], "rungs": [0.5]}
    train = {"head_epochs": 2}
    pegbox.train(recipe_of(hubert, tones, train, method="", search=search), tmp_path / "search")
    assert probe["steps"] and len(heads) == 3
    kept = read_tensors(tmp_path / "probe" / "delta.safetensors")[0]
    for head in heads:
        assert all(torch.equal(tensor, kept[f"head.{name}"]) for name, tensor in head.items())


def test_importance_is_measured_with_it(hubert: Path, tones: Path, tmp_path: Path) -> None:
    def stop(event: Any, _: Path) -> None:
        if isinstance(event, Started):
            raise KeyboardInterrupt

    found = []
    for name, epochs in (("cold", 0), ("warm", 20)):
        recipe = recipe_of(hubert, tones, {"head_epochs": epochs}, method="child(keep=0.1, batches=4)")
        with pytest.raises(KeyboardInterrupt):
            pegbox.train(recipe, tmp_path / name, stop)
        found.append(read_tensors(tmp_path / name / "choice.safetensors")[0])
    assert any(not torch.equal(tensor, found[1][name]) for name, tensor in found[0].items())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"method": "weighted_sum"}, "weighted_sum trains the head alone already"),
        ({"method": "linear_probe"}, "linear_probe trains the head alone already"),
        (
            {"method": "ladder(reduction=2, heads=2)"},
            r"the head of ladder\(reduction=2, heads=2\) reads what stands beside the network",
        ),
        ({"method": "", "search": {"candidates": ["lora", "linear_probe"]}}, "read different features"),
    ],
)
def test_a_start_that_would_change_nothing_is_refused(
    hubert: Path, tones: Path, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(RecipeError, match=said):
        plan(recipe_of(hubert, tones, {"head_epochs": 2}, **changes))


def test_a_plan_counts_it(hubert: Path, tones: Path) -> None:
    with_it, without = (plan(recipe_of(hubert, tones, {"head_epochs": n})).effort for n in (4, 0))
    assert without.before is None and with_it.before is not None
    assert with_it.before.means and with_it.before.steps == 4 * without.steps // 3
    assert recipe_of(hubert, tones, {}).digest != recipe_of(hubert, tones, {"head_epochs": 1}).digest
