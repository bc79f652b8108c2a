"""Clips drawn evenly over classes: weights, draws, what has no classes, resumed, and the same in two processes."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from _same import classifying, ends_alike_after_a_cut, ends_alike_in_two

import pegbox
from pegbox import backbones, tasks
from pegbox.errors import RecipeError
from pegbox.recipe import Recipe, Train
from pegbox.rows import Row
from pegbox.tasks import Sorts
from pegbox.training import epochs, mixing
from pegbox.training.loop import Step
from pegbox.training.plans import plan

WORDS = ["rain"] * 900 + ["dog"] * 90 + ["rain,dog"] * 9 + [""]
CLIPS = [Row(str(n), f"{n}.wav", {"x": word}, "train", None, 0.0, 2.0) for n, word in enumerate(WORDS)]


def recipe_of(hubert: Path, corpus: Path, **changes: Any) -> Recipe:
    return classifying(hubert, corpus, {"head_lr": 1e-2, "balanced": True}, **changes)


@pytest.fixture(scope="module")
def uneven(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tones, of which one class has three clips and two have twelve."""
    folder = tmp_path_factory.mktemp("uneven")
    for clip in sorted(tones.glob("*/*.flac")):
        if clip.parent.name != "high" or int(clip.stem) < 3:
            (folder / clip.parent.name).mkdir(exist_ok=True)
            (folder / clip.parent.name / clip.name).write_bytes(clip.read_bytes())
    return folder


def test_a_clip_is_drawn_as_often_as_its_classes_are_rare() -> None:
    task = tasks.build('tag(label="x")')
    found = Counter(row.labels["x"] for n in range(60) for row in epochs.balanced(CLIPS, task, seed=3, epoch=n))
    weights = {"rain": 900 / 909, "dog": 90 / 99, "rain,dog": 9 / 909 + 9 / 99, "": 1.0}  # sums over the clips
    for name, weight in weights.items():
        assert found[name] / found.total() == pytest.approx(weight / sum(weights.values()), rel=0.05)


def test_classes_of_one_column_and_of_several() -> None:
    rows = [Row(str(n), "", {"x": "a" if n % 10 else "b", "y": "c" if n % 2 else "d"}) for n in range(1000)]
    for spec in ('classify(label="x")', 'verify(label="x")', 'tag(label="x")'):
        found = Counter(row.labels["x"] for row in epochs.balanced(rows, tasks.build(spec), 0, 0))
        assert found["b"] / 1000 == pytest.approx(0.5, abs=0.05)
    both = epochs.balanced(rows, tasks.build('classify(label=["x", "y"])'), 0, 0)  # b is worth 1/100 and d 1/500
    wanted = 100 * (1 / 100 + 1 / 500) / (100 / 100 + 900 / 900 + 500 / 500 + 500 / 500)
    assert Counter(row.labels["x"] for row in both)["b"] / 1000 == pytest.approx(wanted, abs=0.04)


def test_draws_depend_on_seed_and_epoch_alone() -> None:
    task = tasks.build('tag(label="x")')
    found = [epochs.balanced(CLIPS, task, *place) for place in ((3, 1), (3, 1), (3, 2), (4, 1))]
    assert found[0] == found[1] and found[0] != found[2] != found[3] != found[0]
    assert all(len(each) == len(CLIPS) for each in found) and len({row.id for row in found[0]}) < len(CLIPS)


def test_a_clip_that_comes_twice_is_cut_and_mixed_twice(hubert: Path) -> None:
    task, network = tasks.build('tag(label="x")'), backbones.outline(str(hubert))
    train = Train(balanced=True, crop=0.5, mixup=1.0)
    found = epochs.heard(CLIPS, task, network, train, 0, 0)
    twice = next(name for name, count in Counter(row.id for row in found).items() if count > 1)
    first, second, *_ = [row for row in found if row.id == twice]
    assert first.start != second.start and isinstance(first, mixing.Mixed) and isinstance(second, mixing.Mixed)
    partners = Counter(row.partner.labels["x"] for row in found if isinstance(row, mixing.Mixed))
    assert partners["rain"] / len(found) == pytest.approx(0.9, abs=0.03)  # of all clips, each as likely
    assert Counter(row.labels["x"] for row in found)["rain"] / len(found) == pytest.approx(1 / 3, abs=0.05)


@pytest.mark.parametrize("task", ["ctc", "diarize", 'regress(label="class")', "slots", "synthesize"])
def test_tasks_without_classes_are_refused(task: str, hubert: Path, uneven: Path) -> None:
    assert not isinstance(tasks.build(task), Sorts)
    with pytest.raises(RecipeError, match=r"train\.balanced=true: .* has no classes to draw clips evenly over"):
        epochs.check(recipe_of(hubert, uneven, task=task), tasks.build(task), backbones.outline(str(hubert)))


def test_the_cache_serves_what_is_drawn(hubert: Path, uneven: Path, tmp_path: Path) -> None:
    recipe = recipe_of(hubert, uneven)
    assert plan(recipe).cache.startswith("states")
    asked = {
        "cached": recipe,
        "direct": replace(recipe, cache=replace(recipe.cache, use=False)),
        "plain": replace(recipe, train=replace(recipe.train, balanced=False)),
    }
    losses: dict[str, list[float]] = {name: [] for name in asked}

    def note(event: Any, folder: Path) -> None:
        losses[folder.name] += [event.loss] if isinstance(event, Step) else []

    for name, each in asked.items():
        pegbox.train(each, tmp_path / name, note)
    assert losses["cached"] == pytest.approx(losses["direct"], rel=1e-4) and losses["cached"] != losses["plain"]


def test_an_interrupted_run_ends_as_it_would_have(hubert: Path, uneven: Path, tmp_path: Path) -> None:
    ends_alike_after_a_cut(recipe_of(hubert, uneven), tmp_path)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a fork cannot use the GPU of its parent")
def test_two_processes_draw_what_one_draws(hubert: Path, uneven: Path, tmp_path: Path) -> None:
    ends_alike_in_two(recipe_of(hubert, uneven), tmp_path)
