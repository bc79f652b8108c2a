"""Runs whose blocks are computed again for the gradient: the same numbers, refused where nothing would change."""

from pathlib import Path
from typing import Any

import pytest
import torch
from _same import classifying, ends_alike_after_a_cut

import pegbox
from pegbox.errors import RecipeError
from pegbox.surgery import read_tensors
from pegbox.training import again
from pegbox.training.plans import plan


@pytest.mark.parametrize("method", ["lora(rank=2, dropout=0.2)", "child(keep=0.1, batches=2) + shallow_prompt", "full"])
def test_a_run_ends_with_the_same_numbers(
    method: str, hubert: Path, tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed: list[int] = []

    def step(*network: Any) -> Any:
        through = counted(*network)
        return lambda index, state: (passed.append(index), through(index, state))[1]

    counted = again.step
    monkeypatch.setattr(again, "step", step)
    found = []
    for checkpointing in (False, True):
        train = {"epochs": 1, "head_epochs": 1, "checkpointing": checkpointing}
        folder = tmp_path / str(checkpointing)
        scores = pegbox.train(classifying(hubert, tones, train, method=method), folder)["scores"]
        found.append((scores, read_tensors(folder / "delta.safetensors")[0]))
        assert bool(passed) is checkpointing
    (scores, plain), (same, recomputed) = found
    assert scores == same and plain.keys() == recomputed.keys()
    for name, tensor in plain.items():
        torch.testing.assert_close(recomputed[name], tensor, atol=1e-6, rtol=1e-5)


def test_an_interruption_changes_nothing(hubert: Path, tones: Path, tmp_path: Path) -> None:
    method = "lora(rank=2, dropout=0.2)"
    ends_alike_after_a_cut(classifying(hubert, tones, {"checkpointing": True}, method=method), tmp_path)


@pytest.mark.parametrize("method", ["weighted_sum", "ladder(reduction=4, heads=2)"])
def test_it_is_refused_where_no_block_is_trained(method: str, hubert: Path, tones: Path, tmp_path: Path) -> None:
    recipe = classifying(hubert, tones, {"checkpointing": True}, method=method)
    with pytest.raises(RecipeError, match=r"train\.checkpointing=true: nothing inside the network is trained"):
        plan(recipe)
    with pytest.raises(RecipeError, match=r"train\.checkpointing=true: nothing inside the network is trained"):
        pegbox.train(recipe, tmp_path / "run")


def test_a_search_takes_it_where_one_candidate_has_a_use_for_it(hubert: Path, tones: Path) -> None:
    both = {"candidates": ["weighted_sum", "lora(rank=2)"], "rungs": [0.5]}
    assert plan(classifying(hubert, tones, {"checkpointing": True}, method="", search=both)).steps == 9


def test_the_estimate_of_memory_knows_it(hubert: Path, tones: Path) -> None:
    plain, less = (plan(classifying(hubert, tones, {"checkpointing": on})).memory_bytes for on in (False, True))
    assert plain - less == 32 * 50 * 16 * 4 * (24 * 2 - 24 - 2)  # seconds, frames, width, bytes; 24 widths a block
