"""Whether runs end with the same numbers: one that is interrupted and goes on, and one in two processes."""

from pathlib import Path
from typing import Any

import pytest
import torch
from _crew import in_two

import pegbox
from pegbox.recipe import Recipe
from pegbox.surgery import read_tensors
from pegbox.training.loop import Validated


def ends_alike_after_a_cut(recipe: Recipe, folder: Path) -> None:
    """Trains once without and once with an interruption after the second epoch; every bit must be the same."""

    def stop(event: Any, _: Path) -> None:
        if isinstance(event, Validated) and event.epoch == 1:
            raise KeyboardInterrupt

    whole = pegbox.train(recipe, folder / "whole")
    with pytest.raises(KeyboardInterrupt):
        pegbox.train(recipe, folder / "cut", stop)
    assert pegbox.train(recipe, folder / "cut")["scores"] == whole["scores"]
    one, other = (read_tensors(folder / name / "delta.safetensors")[0] for name in ("whole", "cut"))
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def ends_alike_in_two(recipe: Recipe, folder: Path) -> None:
    """Trains in one process and in two, which must end with its numbers but for the order of additions."""
    alone = pegbox.train(recipe, folder / "one")
    first, second = in_two(lambda: pegbox.train(recipe, folder / "two"), folder / "found")
    assert first == second and first["scores"]["test"] == pytest.approx(alone["scores"]["test"])
    one, other = (read_tensors(folder / name / "delta.safetensors")[0] for name in ("one", "two"))
    for name, tensor in one.items():
        torch.testing.assert_close(tensor, other[name], rtol=1e-3, atol=1e-4)
