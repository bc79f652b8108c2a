"""Masked spectrograms: what is drawn and silent, no cache, whole clips in validation, resumed and in two processes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from _made import save_ast
from _same import classifying, ends_alike_after_a_cut, ends_alike_in_two

import pegbox
from pegbox import backbones
from pegbox.errors import RecipeError
from pegbox.recipe import Recipe, Train
from pegbox.rows import Row
from pegbox.training import masking, mixing
from pegbox.training.cache import Layout, StateCache
from pegbox.training.feed import Feed
from pegbox.training.loop import Step, Validated
from pegbox.training.plans import plan

pytestmark = pytest.mark.filterwarnings("ignore:At least one mel filter")
CLIPS = [Row(str(n), f"{n}.wav", {"x": "abc"[n % 3]}, "train", None, 0.5, 0.8) for n in range(4000)]
LONG = replace(CLIPS[0], id="long", end=0.9)  # of 0.4 s: 38 windows of 25 ms, one every 10 ms
BOTH = Train(mask_bands=24, mask_frames=12)


@pytest.fixture(scope="module")
def ast(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An AST for 0.5 s: 48 frames, so that every mask can be told from padding."""
    return save_ast(tmp_path_factory.mktemp("ast"), frames=48)


def recipe_of(ast: Path, tones: Path, **changes: Any) -> Recipe:
    return classifying(ast, tones, {"mask_bands": 40, "mask_frames": 12}, **changes)


def test_widths_and_places_are_drawn_by_seed_and_epoch(ast: Path) -> None:
    network = backbones.outline(str(ast))
    found = masking.masked([*CLIPS, LONG], BOTH, network, seed=3, epoch=1)
    drawn = np.array(masking.hidden(found))
    for first, end, most, size in ((drawn[:, 0], drawn[:, 1], 24, 128), (drawn[:, 2], drawn[:, 3], 12, 38)):
        widths = end - first
        assert {*widths.tolist()} == {*range(most)} and min(first) == 0 and max(end) == size
        assert np.bincount(widths).min() > 0.7 * len(found) / most
        places = first / (size - widths)
        assert places.mean() == pytest.approx(0.5, abs=0.03) and places.var() == pytest.approx(1 / 12, rel=0.15)
    assert len(np.unique(drawn, axis=0)) > 0.9 * len(found)
    again = [masking.masked(CLIPS, BOTH, network, *place) for place in ((3, 1), (3, 1), (3, 2), (4, 1))]
    assert again[0] == again[1] and again[0] != again[2] != again[3]
    assert masking.bare(found) == [*CLIPS, LONG] and found[1].labels == CLIPS[1].labels
    assert masking.masked(CLIPS, Train(), network, 3, 1) == CLIPS
    only = masking.hidden(masking.masked(CLIPS, Train(mask_frames=9), network, 3, 1))
    assert all(first == end for first, end, *_ in only) and max(end - first for *_, first, end in only) == 8


def test_what_is_hidden_is_what_the_network_is_padded_with(ast: Path, tones: Path) -> None:
    network = backbones.load(str(ast))
    rows = [Row(str(path), str(path)) for path in sorted(tones.glob("*/*.flac"))[:2]]
    hidden = [(3, 40, 5, 9), (0, 0, 0, 2)]
    masked = [masking._masked(row, what) for row, what in zip(rows, hidden, strict=True)]
    batch = Feed(network, None).batch(masked)
    assert batch.hidden is not None and batch.hidden.tolist() == [list(each) for each in hidden]
    whole, found = network.front(batch.x, batch.lengths), network.front(batch.x, batch.lengths, batch.hidden)
    silence = whole[0, -1, 0]
    assert silence == -float(network.front.mean) / (2 * float(network.front.deviation)) and whole.shape == (2, 48, 128)
    for clip, (first, end, begin, until) in enumerate(hidden):
        assert bool((found[clip, :, first:end] == silence).all() and (found[clip, begin:until] == silence).all())
        found[clip, :, first:end] = whole[clip, :, first:end]
        found[clip, begin:until] = whole[clip, begin:until]
    assert torch.equal(found, whole)
    plain = Feed(network, None).batch(rows)
    assert plain.hidden is None and torch.equal(plain.x, batch.x)


def test_a_mixed_clip_is_masked_as_a_whole(ast: Path, tones: Path) -> None:
    network = backbones.load(str(ast))
    one, other = (Row(str(path), str(path)) for path in sorted(tones.glob("*/*.flac"))[:2])
    both = mixing._mixed(one, other, 0.25)
    batch = Feed(network, None).batch([masking._masked(both, (0, 9, 0, 0))])
    assert torch.equal(batch.x, Feed(network, None).batch([both]).x) and batch.hidden is not None
    assert masking.bare([masking._masked(both, (0, 9, 0, 0))]) == [both]


def test_only_spectrograms_of_fixed_size_can_be_masked(ast: Path, hubert: Path, tones: Path) -> None:
    with pytest.raises(RecipeError, match=r"mask_frames=12: hubert is given no spectrogram of fixed size"):
        plan(recipe_of(hubert, tones))
    for train in ({"mask_bands": 129}, {"mask_frames": 49}):
        with pytest.raises(RecipeError, match="spectrogram has 128 bands, 48 frames"):
            plan(recipe_of(ast, tones, train=train))
    assert plan(recipe_of(ast, tones)).steps == 3 * 3


def test_nothing_is_cached_and_a_filled_cache_refuses_masks(ast: Path, tones: Path, tmp_path: Path) -> None:
    recipe = recipe_of(ast, tones, method="weighted_sum")
    assert plan(recipe).cache.startswith("none: train.mask_bands and train.mask_frames hide other parts")
    assert plan(replace(recipe, train=Train())).cache.startswith("means")
    network = backbones.load(str(ast))
    cache = StateCache(tmp_path, network, Layout("states", (0,), network.width, "fp32"))
    with pytest.raises(RecipeError, match="masked as sound"):
        Feed(network, cache).batch([masking._masked(CLIPS[0], (0, 1, 0, 1))])


def test_validation_sees_whole_spectrograms_and_training_does_not(ast: Path, tones: Path, tmp_path: Path) -> None:
    looks: list[float] = []
    losses: list[list[float]] = [[], []]

    def note(event: Any, _: Path) -> None:
        looks.extend([event.valid_loss] if isinstance(event, Validated) else [])
        losses[-1].extend([event.loss] if isinstance(event, Step) else [])

    for bands in (0, 100):  # with rates of next to nothing the model stays what it was
        train = {"epochs": 1, "mask_bands": bands, "head_lr": 1e-12, "layers_lr": 1e-12, "delta_lr": 1e-12}
        pegbox.train(recipe_of(ast, tones, train=train), tmp_path / str(bands), note)
        losses.reverse()
    assert looks[0] == pytest.approx(looks[1], rel=1e-5) and losses[0] != losses[1]


def test_an_interrupted_run_ends_as_it_would_have(ast: Path, tones: Path, tmp_path: Path) -> None:
    ends_alike_after_a_cut(recipe_of(ast, tones), tmp_path)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a fork cannot use the GPU of its parent")
def test_two_processes_hide_what_one_hides(ast: Path, tones: Path, tmp_path: Path) -> None:
    ends_alike_in_two(recipe_of(ast, tones), tmp_path)
