"""Cached = direct, for every backbone and method, at every depth, whole and as means; and what keeps a cache honest."""

import json
from pathlib import Path

import pytest
import soundfile
import torch
from _models import ONE_EACH, RATE, VARIANTS, backbone, clip, skipping, specs
from torch.testing import assert_close

from pegbox import methods
from pegbox.delta import Delta
from pegbox.errors import PegboxError, RecipeError
from pegbox.recipe import make
from pegbox.rows import Row
from pegbox.tasks.classify import Classify
from pegbox.tasks.ctc import Ctc
from pegbox.training.cache import FRONT, Layout, StateCache
from pegbox.training.feed import Feed
from pegbox.training.layouts import layout_of, shared_depths
from pegbox.training.model import Tuned

LENGTHS = (6000, 4000, 5200)
CLASSES = ("a", "b", "c")
READERS = [(features, task) for features in ("weighted", "last") for task in (Classify("word", 8), Ctc())]
SPECS = (*specs(), 'lora(rank=2, blocks="1:")', 'bottleneck(size=4, blocks="-1")')
PRODUCT = [  # the readers take turns, so that every method meets each of them on some backbones
    pytest.param(variant, spec, *READERS[(place + number) % len(READERS)], id=f"{variant}-{spec}")
    for place, variant in enumerate(ONE_EACH)
    for number, spec in enumerate(SPECS)
]


@pytest.fixture
def rows(tmp_path: Path) -> list[Row]:
    made = []
    for index, samples in enumerate(LENGTHS):
        path = tmp_path / f"{index}.wav"
        soundfile.write(path, clip(samples, seed=index).numpy(), RATE, subtype="FLOAT")
        made.append(Row(str(index), str(path), {"word": CLASSES[index]}, "train"))
    return made


def recipe_of(spec: str, **cache: object):
    base = {"backbone": "b", "method": spec, "task": "ctc", "corpus": 'folder(root="c")'}
    return make(base | {"cache": cache})


def tuned(network, spec, task, features):
    """Returns a model whose delta is far from identity, so that agreement is no accident."""
    delta = Delta(network.core, methods.plan(methods.parse(spec), network.sites()), network.family.unused)
    model = Tuned(network, delta, task, ("", *CLASSES), features).eval()
    with torch.no_grad():
        for tensor in [*delta.edits.parameters(), *([] if model.layers is None else [model.layers])]:
            tensor.add_(torch.randn_like(tensor) * 0.2)
    return model


def logits(model, cache, rows):
    with torch.no_grad():
        return model(Feed(model.backbone, cache).batch(rows))


@pytest.mark.parametrize(("variant", "spec", "features", "task"), PRODUCT)
def test_cached_equals_direct(variant, spec, features, task, rows, tmp_path):
    network = backbone(variant)
    if task.framewise and network.hop is None:
        pytest.skip(f"{variant} has no time axis")
    with skipping():
        model = tuned(network, spec, task, features)
    layout, size, what = layout_of(recipe_of(spec), [model], [network.frames(samples) for samples in LENGTHS])
    below = network.family.convolve is None or model.delta.convolves
    if model.delta.lowest == -1 and below:
        assert layout is None and size == 0 and "stem" in what
        return
    assert layout is not None and (layout.kind == "front") == (model.delta.lowest == -1)
    cache = StateCache(tmp_path / "cache", network, layout)
    assert list(cache.fill(rows)) == [1, 2, 3]
    direct, cached = (logits(model, each, rows) for each in (None, cache))
    frames = [network.frames(samples) for samples in LENGTHS]
    for one, other, count in zip(direct, cached, frames, strict=True):  # a frame beyond a clip's end has no meaning
        real = slice(None) if task.pools else slice(count)
        assert_close(one[real], other[real], atol=2e-4, rtol=2e-4)
    stored = sum(path.stat().st_size for path in cache.folder.glob("*.bin"))
    assert stored == size


@pytest.mark.parametrize("variant", ONE_EACH)
def test_probes_of_one_network_share_their_means_and_read_their_own(variant, rows, tmp_path):
    network, frames = backbone(variant), [2] * len(rows)
    probes = {
        features: tuned(backbone(variant), "linear_probe", Classify("word", 8), features)
        for features in ("last", "weighted")
    }
    apart = {name: layout_of(recipe_of("linear_probe"), [model], frames)[0] for name, model in probes.items()}
    together, _, _ = layout_of(recipe_of("linear_probe"), [*probes.values()], frames)
    assert together is not None and {*apart.values()} == {together}
    cache = StateCache(tmp_path / "cache", network, together)
    list(cache.fill(rows))
    for model in probes.values():
        assert_close(logits(model, None, rows), logits(model, cache, rows), atol=2e-4, rtol=2e-4)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_cache_is_of_the_untouched_part(variant, rows, tmp_path):
    plain, edited = backbone(variant), backbone(variant)
    model = tuned(edited, 'bottleneck(size=4, at=["enter", "leave"], blocks="1:")', Classify("word", 8), "weighted")
    layout = Layout("states", (0, 1), plain.width, "fp32")
    one, other = (StateCache(tmp_path / name, net, layout) for name, net in (("a", plain), ("b", model.backbone)))
    for row in rows:
        assert torch.equal(one.compute(row)[0], other.compute(row)[0])


def test_methods_and_tasks_share_a_cache_and_backbones_do_not(rows, tmp_path):
    layout = Layout("states", (0,), 32, "fp32")
    first = StateCache(tmp_path, backbone("hubert-layer-pre"), layout)
    list(first.fill(rows[:2]))
    again = StateCache(tmp_path, backbone("hubert-layer-pre"), layout)
    assert [row.id for row in again.missing(rows)] == ["2"]
    changed = backbone("hubert-layer-pre")
    changed.digest = "another"
    assert len(StateCache(tmp_path, changed, layout).missing(rows)) == 3
    assert (
        len(StateCache(tmp_path, backbone("hubert-layer-pre"), Layout("states", (1,), 32, "fp32")).missing(rows)) == 3
    )


def test_the_cache_follows_the_sound_not_the_name(rows, tmp_path):
    network, layout = backbone("hubert-layer-pre"), Layout("states", (0,), 32, "fp32")
    list(StateCache(tmp_path / "c", network, layout).fill(rows))
    soundfile.write(rows[0].audio, clip(7000, seed=9).numpy(), RATE, subtype="FLOAT")
    assert [row.id for row in StateCache(tmp_path / "c", network, layout).missing(rows)] == ["0"]
    part = Row("part", rows[1].audio, {}, "train", start=0.05, end=0.2)
    assert StateCache(tmp_path / "c", network, layout).missing([part]) == [part]


def test_an_interrupted_fill_keeps_whole_shards_and_no_half_ones(rows, tmp_path, monkeypatch):
    monkeypatch.setattr("pegbox.training.cache._SHARD_BYTES", 1)  # a shard a clip
    network, layout = backbone("hubert-layer-pre"), Layout("states", (0,), 32, "fp32")
    filling = StateCache(tmp_path, network, layout).fill(rows)
    assert [next(filling), next(filling)] == [1, 2]
    filling.close()
    fresh = StateCache(tmp_path, network, layout)
    assert len(fresh.missing(rows)) == 2
    next(fresh.folder.glob("*.bin")).write_bytes(b"short")
    damaged = StateCache(tmp_path, network, layout)
    assert len(damaged.missing(rows)) == 3, "a shard that is too short counts as absent"
    list(damaged.fill(rows))
    assert damaged.missing(rows) == []
    assert all(json.loads(path.read_text()) for path in damaged.folder.glob("*.json"))


def test_a_limit_moves_the_cut_down_and_then_off(rows):
    network = backbone("hubert-layer-pre")
    model = tuned(network, 'lora(rank=2, blocks="2:")', Ctc(), "weighted")
    frames = [network.frames(samples) for samples in LENGTHS]
    one = sum(frames) * 32 * 4
    depths = {}
    for limit in (10 * one, 2 * one, one / 2):
        layout, size, what = layout_of(recipe_of("lora", limit_gb=limit / 1e9), [model], frames)
        depths[limit] = None if layout is None else layout.depths
        assert size <= limit and (layout is not None or "over cache.limit_gb" in what)
    assert list(depths.values()) == [(0, 1, 2), (0,), None]
    assert layout_of(recipe_of("lora", use=False), [model], frames)[0] is None


def test_a_folder_that_cannot_be_written_is_a_clear_error(rows, tmp_path):
    (tmp_path / "file").write_text("")
    cache = StateCache(tmp_path / "file", backbone("hubert-layer-pre"), Layout("states", (0,), 32, "fp32"))
    with pytest.raises(PegboxError, match=r"cache\.use=false"):
        list(cache.fill(rows))
    with pytest.raises(PegboxError, match="GB free"):
        StateCache(tmp_path, cache.backbone, cache.layout).check_room(10**18)


def test_bf16_states_are_stored_in_half_the_bytes_and_exactly(rows, tmp_path):
    network = backbone("hubert-layer-pre", "bf16")
    model = tuned(network, "lora(rank=2)", Classify("word", 8), "last")
    layout, size, _ = layout_of(recipe_of("lora"), [model], [network.frames(samples) for samples in LENGTHS])
    assert layout is not None and layout.size(10) == 10 * 32 * 2
    cache = StateCache(tmp_path, network, layout)
    list(cache.fill(rows))
    computed, frames = cache.compute(rows[1])
    assert computed.dtype == torch.bfloat16 and frames == network.frames(LENGTHS[1])
    assert torch.equal(cache.get(rows[1]), computed) and size == sum(
        p.stat().st_size for p in cache.folder.glob("*.bin")
    )


def test_a_task_that_needs_time_refuses_patches():
    with pytest.raises(RecipeError, match="time axis"):
        tuned(backbone("ast"), "lora(rank=2)", Ctc(), "last")


@pytest.mark.parametrize(
    ("spec", "convolves"),
    [
        ('bottleneck(size=4, at=["frames"])', False),
        ('child(keep=0.9, choose="magnitude")', False),
        ('lora(rank=2, at=["conv"])', True),
        ('lora(rank=2, at=["conv"]) + bottleneck(size=4, at=["frames"])', True),
        ("reprogramming", True),
        ("full", True),
    ],
)
def test_what_stands_behind_the_convolutions_reads_them_from_the_cache(spec, convolves, rows, tmp_path):
    network = backbone("hubert-layer-pre")
    model = tuned(network, spec, Ctc(), "weighted")
    layout, size, what = layout_of(recipe_of(spec), [model], [network.frames(samples) for samples in LENGTHS])
    assert model.delta.lowest == -1 and model.delta.convolves == convolves and (layout is None) == convolves
    if layout is None:
        assert (size, what) == (0, "none: the stem is trained")
        return
    assert (layout.kind, what) == ("front", "the front-end")
    cache = StateCache(tmp_path, network, layout)
    list(cache.fill(rows))
    called = []
    network.core.feature_extractor.register_forward_hook(lambda *_: called.append(1))
    cached = logits(model, cache, rows)
    assert not called
    for one, other, samples in zip(logits(model, None, rows), cached, LENGTHS, strict=True):
        assert_close(one[: network.frames(samples)], other[: network.frames(samples)], atol=2e-4, rtol=2e-4)
    assert called


def test_rivals_without_a_cache_share_the_front_end(rows):
    """Two models whose edits begin behind the convolutions: these are computed once for a batch, not twice."""
    models = [tuned(backbone("hubert-layer-pre"), 'bottleneck(size=4, at=["frames"])', Ctc(), "weighted")]
    network = models[0].backbone
    shared = shared_depths([*models, *models])
    assert shared == FRONT
    feed, called = Feed(network, None, shared=shared), []
    network.core.feature_extractor.register_forward_hook(lambda *_: called.append(1))
    with torch.no_grad():
        found = [models[0](feed.batch(rows)) for _ in range(2)]
    assert len(called) == 1 and torch.equal(*found)
    for one, other, samples in zip(logits(models[0], None, rows), found[0], LENGTHS, strict=True):
        assert_close(one[: network.frames(samples)], other[: network.frames(samples)], atol=2e-4, rtol=2e-4)
