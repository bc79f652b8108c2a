"""The shelf: consecutive recipes share one loaded backbone, with the numbers of runs that load their own."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import pegbox
from pegbox.recipe import Recipe, make
from pegbox.surgery import read_tensors
from pegbox.training.session import Session, Shelf


def recipe_of(hubert: Path, tones: Path, method: str = "lora(rank=2)") -> Recipe:
    corpus, train = f'folder(root="{tones}", valid=0.2, test=0.2)', {"epochs": 1, "batch_clips": 8}
    task = 'classify(label="class", projection=8)'
    return make({"backbone": str(hubert), "method": method, "task": task, "corpus": corpus, "train": train})


@pytest.mark.parametrize("first", ["lora(rank=2)", "full", "bitfit", "child(keep=0.1, batches=2)"])
def test_the_next_run_has_the_numbers_of_a_run_of_its_own(
    first: str, hubert: Path, tones: Path, tmp_path: Path
) -> None:
    shelf = Shelf()
    pegbox.train(recipe_of(hubert, tones, first), tmp_path / "first", shelf=shelf)
    pegbox.train(recipe_of(hubert, tones, "bottleneck(size=4)"), tmp_path / "second", shelf=shelf)
    pegbox.train(recipe_of(hubert, tones, "bottleneck(size=4)"), tmp_path / "alone")
    second, alone = (read_tensors(tmp_path / name / "delta.safetensors") for name in ("second", "alone"))
    assert second[1] == alone[1]
    assert all(torch.equal(second[0][name], alone[0][name]) for name in alone[0])


def test_the_same_backbone_is_handed_out_again_and_another_is_loaded(hubert: Path, tmp_path: Path) -> None:
    shelf, copy = Shelf(), shutil.copytree(hubert, tmp_path / "copy")
    first = shelf.take(str(hubert), "fp32")
    shelf.put(first)
    assert shelf.take(str(hubert), "fp32") is first
    assert shelf.take(str(hubert), "fp32") is not first  # nobody has put it back: something may still be on it
    shelf.put(first)
    for source, precision in ((str(hubert), "bf16"), (str(copy), "fp32")):
        other = shelf.take(source, precision)  # type: ignore[arg-type]
        assert other is not first and other.precision == precision
        shelf.put(other)
        assert shelf.take(source, precision) is other  # type: ignore[arg-type]
        shelf.put(other)
    (copy / "config.json").touch()
    assert shelf.take(str(copy), "fp32") is not other


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_changed_backbone_is_not_handed_out_again(precision: Any, hubert: Path) -> None:
    shelf = Shelf()
    first = shelf.take(str(hubert), precision)
    with torch.no_grad():
        next(first.blocks[0].parameters()).view(-1)[0] += 1
    shelf.put(first)
    again = shelf.take(str(hubert), precision)
    assert again is not first and again.fingerprint() != first.fingerprint()


def test_a_failed_run_leaves_nothing_on_the_shelf(hubert: Path, tones: Path, tmp_path: Path) -> None:
    def stop(event: Any, folder: Path) -> None:
        raise KeyboardInterrupt

    shelf, recipe = Shelf(), recipe_of(hubert, tones)
    with pytest.raises(KeyboardInterrupt) as held:  # its traceback holds the run, which holds the network
        pegbox.train(recipe, tmp_path / "run", stop, shelf)
    result = pegbox.train(recipe, tmp_path / "run", shelf=shelf)
    assert held.type is KeyboardInterrupt and result["steps"] > 0
    first = Session(recipe, shelf)
    assert first.backbone is not Session(recipe, shelf).backbone  # the first has not left
