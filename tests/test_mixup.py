"""Mixed clips: what is drawn and heard, the losses written out, no cache, and the same numbers in two processes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from _same import classifying, ends_alike_after_a_cut, ends_alike_in_two
from torch.nn import functional as F

import pegbox
from pegbox import backbones, tasks
from pegbox.errors import RecipeError
from pegbox.recipe import Recipe
from pegbox.rows import Row
from pegbox.tasks import Mixes
from pegbox.training import mixing
from pegbox.training.cache import Layout, StateCache
from pegbox.training.feed import Feed
from pegbox.training.loop import Step, Validated
from pegbox.training.plans import plan

CLIPS = [Row(str(n), f"{n}.wav", {"x": "abc"[n % 3]}, "train", None, 0.5, 2.0) for n in range(4000)]


def recipe_of(hubert: Path, tones: Path, **changes: Any) -> Recipe:
    return classifying(hubert, tones, {"head_lr": 1e-2, "mixup": 0.6}, **changes)


def test_clips_partners_and_shares_are_drawn_by_seed_and_epoch() -> None:
    found = mixing.mixed(CLIPS, CLIPS, 0.3, seed=3, epoch=1)
    changed = [row for row in found if isinstance(row, mixing.Mixed)]
    assert len(changed) / len(CLIPS) == pytest.approx(0.3, abs=0.03)
    shares = np.array([row.share for row in changed])
    assert shares.mean() == pytest.approx(0.5, abs=0.02)
    assert shares.var() == pytest.approx(1 / 84, rel=0.15)  # of Beta(10, 10): 100 / (20² · 21)
    assert len({row.partner.id for row in changed}) > 0.8 * len(changed)
    for before, after in zip(CLIPS, found, strict=True):
        assert after == before or replace(after, partner=before, share=0.0) == mixing._mixed(before, before, 0.0)
    assert (
        mixing.mixed(CLIPS, CLIPS, 0.3, 3, 1)
        == found
        != mixing.mixed(CLIPS, CLIPS, 0.3, 3, 2)
        != mixing.mixed(CLIPS, CLIPS, 0.3, 4, 2)
    )
    assert mixing.mixed(CLIPS, CLIPS, 0.0, 3, 1) == CLIPS
    assert all(isinstance(row, mixing.Mixed) for row in mixing.mixed(CLIPS, CLIPS, 1.0, 3, 1))


def test_a_sum_is_as_long_as_its_first_clip() -> None:
    long, short = np.float32([1, 2, 3, 4]), np.float32([10, 20])
    assert mixing.heard(long, short, 0.75).tolist() == [0.75 + 2.5, 1.5 + 5.0, 2.25, 3.0]
    assert mixing.heard(short, long, 0.5).tolist() == [5.5, 11.0]
    assert long.tolist() == [1, 2, 3, 4]


def test_a_batch_holds_the_sums_of_the_clips(hubert: Path, tones: Path) -> None:
    feed = Feed(backbones.load(str(hubert)), None)
    one, other = (Row(str(path), str(path)) for path in sorted(tones.glob("*/*.flac"))[:2])
    alone = [feed.batch([row]).x[0] for row in (one, other)]
    batch = feed.batch([mixing._mixed(one, other, 0.25), other])
    both = min(map(len, alone))
    torch.testing.assert_close(batch.x[0, :both], 0.25 * alone[0][:both] + 0.75 * alone[1][:both])
    assert batch.lengths.tolist() == [len(each) for each in alone]
    assert torch.equal(batch.x[1, : len(alone[1])], alone[1])


def test_classes_are_wanted_as_much_as_they_are_heard() -> None:
    torch.manual_seed(0)
    logits, names = torch.randn(3, 3), ("a", "b", "c")
    rows = [mixing._mixed(CLIPS[0], CLIPS[1], 0.7), CLIPS[2], mixing._mixed(CLIPS[4], CLIPS[1], 0.2)]
    wanted = torch.tensor([[0.7, 0.3, 0.0], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]])  # the last two share a class
    found = mixing.loss(tasks.build('classify(label="x")'), logits, torch.ones(3), rows, names)
    torch.testing.assert_close(found, F.cross_entropy(logits, wanted))
    plain = mixing.loss(tasks.build('classify(label="x")'), logits, torch.ones(3), CLIPS[:3], names)
    torch.testing.assert_close(plain, F.cross_entropy(logits, torch.arange(3)))


def test_every_column_of_several_is_mixed() -> None:
    torch.manual_seed(0)
    logits, names = torch.randn(1, 5), ("x=a", "x=b", "y=p", "y=q", "y=r")
    one, other = (Row("1", "1.wav", {"x": x, "y": y}) for x, y in (("a", "r"), ("b", "p")))
    found = mixing.loss(
        tasks.build('classify(label=["x", "y"])'), logits, torch.ones(1), [mixing._mixed(one, other, 0.6)], names
    )
    wanted = (torch.tensor([[0.6, 0.4]]), torch.tensor([[0.4, 0.0, 0.6]]))
    parts = (logits[:, :2], logits[:, 2:])
    torch.testing.assert_close(found, sum(F.cross_entropy(*pair) for pair in zip(parts, wanted, strict=True)))


def test_a_tag_that_both_clips_have_is_wanted_wholly() -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 3)
    one, other = (Row(text, "1.wav", {"t": text}) for text in ("a,b", "b,c"))
    rows = [mixing._mixed(one, other, 0.7), one]
    found = mixing.loss(tasks.build('tag(label="t")'), logits, torch.ones(2), rows, ("a", "b", "c"))
    wanted = torch.tensor([[0.7, 1.0, 0.3], [1.0, 1.0, 0.0]])
    torch.testing.assert_close(found, F.binary_cross_entropy_with_logits(logits, wanted))


@pytest.mark.parametrize("task", ["ctc", "verify", "diarize", 'regress(label="class")', "slots"])
def test_truths_without_a_sum_are_refused(task: str, hubert: Path, tones: Path) -> None:
    assert not isinstance(tasks.build(task), Mixes)
    with pytest.raises(RecipeError, match=r"train\.mixup=0\.5: what .* learns of two clips has no sum"):
        mixing.check(tasks.build(task), 0.5, task)
    mixing.check(tasks.build(task), 0.0, task)
    if task == "ctc":
        with pytest.raises(RecipeError, match="has no sum"):
            plan(recipe_of(hubert, tones, task='ctc(label="class")'))


def test_nothing_is_cached_and_the_cache_changes_nothing(hubert: Path, tones: Path, tmp_path: Path) -> None:
    recipe = recipe_of(hubert, tones, method="weighted_sum")
    assert plan(recipe).cache == "none: train.mixup hears other sums of clips each epoch"
    asked = {
        "cached": recipe,
        "direct": replace(recipe, cache=replace(recipe.cache, use=False)),
        "plain": replace(recipe, train=replace(recipe.train, mixup=0.0)),
    }
    losses: dict[str, list[float]] = {name: [] for name in asked}

    def note(event: Any, folder: Path) -> None:
        losses[folder.name] += [event.loss] if isinstance(event, Step) else []

    results = {name: pegbox.train(each, tmp_path / name, note) for name, each in asked.items()}
    assert losses["cached"] == losses["direct"] != losses["plain"]
    assert results["cached"]["scores"] == results["direct"]["scores"]
    assert results["cached"]["cache_bytes"] == 0 < results["plain"]["cache_bytes"]


def test_a_filled_cache_refuses_sums(hubert: Path, tmp_path: Path) -> None:
    backbone = backbones.load(str(hubert))
    cache = StateCache(tmp_path, backbone, Layout("states", (0,), backbone.width, "fp32"))
    with pytest.raises(RecipeError, match="clips are mixed and masked as sound"):
        Feed(backbone, cache).batch([mixing._mixed(CLIPS[0], CLIPS[1], 0.5)])


def test_validation_hears_clips_alone(hubert: Path, tones: Path, tmp_path: Path) -> None:
    looks: list[float] = []

    def note(event: Any, _: Path) -> None:
        looks.extend([event.valid_loss] if isinstance(event, Validated) else [])

    for mixup in (0.0, 1.0):  # with rates of next to nothing the model stays what it was
        train = {"epochs": 1, "mixup": mixup, "head_lr": 1e-12, "layers_lr": 1e-12, "delta_lr": 1e-12}
        pegbox.train(recipe_of(hubert, tones, train=train), tmp_path / str(mixup), note)
    assert looks[0] == pytest.approx(looks[1], rel=1e-5)


def test_an_interrupted_run_ends_as_it_would_have(hubert: Path, tones: Path, tmp_path: Path) -> None:
    ends_alike_after_a_cut(recipe_of(hubert, tones), tmp_path)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a fork cannot use the GPU of its parent")
@pytest.mark.parametrize("task", ['classify(label="class", projection=8)', 'tag(label="class")'])
def test_two_processes_mix_what_one_mixes(task: str, hubert: Path, tones: Path, tmp_path: Path) -> None:
    ends_alike_in_two(recipe_of(hubert, tones, task=task), tmp_path)
