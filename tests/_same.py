"""Whether runs end with the same numbers: one that is interrupted and goes on, and one in two processes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from _crew import in_two

import pegbox
from pegbox.recipe import Recipe, make
from pegbox.surgery import read_tensors
from pegbox.training.loop import Validated


def classifying(backbone: Path, clips: Path, train: dict[str, Any], /, **changes: Any) -> Recipe:
    """Returns a recipe of three short epochs on a folder of classes, with these settings of training besides."""
    settings = {
        "backbone": str(backbone),
        "method": "lora(rank=2)",
        "task": 'classify(label="class", projection=8)',
        "corpus": f'folder(root="{clips}", valid=0.2, test=0.2)',
        "train": {"epochs": 3, "batch_clips": 5, "accumulate": 2, **train},
    }
    return make(settings | changes)


def second_epoch_over(event: Any) -> bool:
    """Returns whether this is the validation after the second epoch."""
    return isinstance(event, Validated) and event.epoch == 1


def ends_alike_after_a_cut(
    recipe: Recipe | dict[str, Any], folder: Path, at: Callable[[Any], bool] = second_epoch_over
) -> None:
    """Trains once without and once with an interruption at an event; every bit must be the same."""

    def stop(event: Any, _: Path) -> None:
        if at(event):
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
