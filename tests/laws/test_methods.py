"""The laws of every method on every backbone; what is new in a folder is tested at once."""

import pytest
import torch
from _models import (
    DEPTH,
    NOT_IDENTITY,
    ONE_EACH,
    alone,
    attach_or_skip,
    backbone,
    batch,
    hooks,
    method_names,
    product,
    same,
    snapshot,
    toy_loss,
    trained_inside,
)
from torch.testing import assert_close

import pegbox
from pegbox import registry, surgery
from pegbox.errors import RecipeError, WeightsError

LENGTHS = (6000, 4000)
PRODUCT = [pytest.param(variant, spec, id=f"{variant}-{spec}") for variant, spec in product()]
EVERY = pytest.mark.parametrize(("variant", "spec"), PRODUCT)
SOME = pytest.mark.parametrize("variant", ONE_EACH)
WITHOUT_BLOCKS = (
    *("chapter", "front_conv_adapter", "input_prompt", "reprogramming", "full", "linear_probe", "weighted_sum"),
    *("inter_adapter", "l_adapter", "ladder"),
)
MERGING = (
    *("lora", "bitfit", "full", "linear_probe", "weighted_sum"),
    *("adapter_bias", "ia3", "layernorm", "top_blocks"),
    *("lora_fa", "vera", "hydra", "child"),
)


def blind(name):
    """Returns whether exact arithmetic gives this tensor no gradient: the bias of a key."""
    parts = name.replace("/", ".").replace(":", ".").split(".")
    return "bias" in parts and bool({"k", "k_proj", "linear_k"} & set(parts))


def promises_identity(spec):
    calls = registry.parse(spec)
    options = [option for call in calls for option in call.options]
    drawn = ("start", "paper") in options or ("start", "ones") in options
    return not (drawn or NOT_IDENTITY & {call.name for call in calls})


def train(model, delta, steps=2, rate=1e-2):
    """Takes AdamW steps on a toy loss; returns for each trained tensor the largest gradient it ever had."""
    trained = dict(delta.named_parameters())
    largest = dict.fromkeys(trained, 0.0)
    optimiser = torch.optim.AdamW(list(trained.values()), lr=rate) if trained else None
    for _ in range(steps):
        loss = toy_loss(model(*batch(*LENGTHS)))
        if optimiser is None:
            continue
        optimiser.zero_grad()
        loss.backward()
        for name, tensor in trained.items():
            largest[name] = max(largest[name], 0.0 if tensor.grad is None else float(tensor.grad.abs().max()))
        optimiser.step()
    return largest


def scramble(delta):
    """Gives every trained number another value, as training would."""
    with torch.no_grad():
        for tensor in delta.parameters():
            tensor.add_(torch.randn_like(tensor) * 0.05)


def outputs(model):
    with torch.no_grad():
        return model(*batch(*LENGTHS))


def equal(first, second):
    return all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


@EVERY
def test_a_life_from_identity_over_training_to_detached_and_attached_again(variant, spec):
    model = backbone(variant)
    flags = [bool(index % 2) for index, _ in enumerate(model.core.parameters())]
    for tensor, flag in zip(model.core.parameters(), flags, strict=True):
        tensor.requires_grad_(flag)
    tensors, hanging, order = snapshot(model), hooks(model), [id(t) for t in model.core.parameters()]
    before = outputs(model)

    delta = attach_or_skip(model, spec).eval()
    assert equal(before, outputs(model)) or not promises_identity(spec)

    model.train()
    delta.train()
    largest = train(model, delta, rate=0.1)
    assert [name for name, size in largest.items() if size == 0.0 and not blind(name)] == [], "not alive"
    trained = {id(tensor) for tensor in delta.parameters()}
    assert all(t.grad is None for t in model.parameters() if id(t) not in trained)
    assert all(not t.requires_grad for t in model.parameters() if id(t) not in trained and not trained_inside(t))

    model.eval()
    delta.eval()
    learnt = outputs(model)
    delta.detach()
    assert same(tensors, snapshot(model)), "detaching gives every bit back"
    assert hooks(model) == hanging
    assert sorted(order) == sorted(id(t) for t in model.core.parameters())
    assert {id(t): t.requires_grad for t in model.core.parameters()} == dict(zip(order, flags, strict=True))
    assert equal(before, outputs(model))

    delta.attach()
    assert equal(learnt, outputs(model)), "attached again is as before"


@SOME
@pytest.mark.parametrize("spec", ["full", "lora(rank=2)", 'child(choose="magnitude", keep=0.1)'])
def test_what_was_handed_out_stays_when_the_delta_goes(variant, spec):
    model = backbone(variant)
    delta = pegbox.attach(model, spec)
    train(model, delta, rate=0.1)
    handed = delta.tensors()
    learnt = {name: tensor.clone() for name, tensor in handed.items()}
    delta.detach()
    assert same(learnt, handed)


@torch.no_grad()
@EVERY
def test_saved_and_loaded_is_exact(variant, spec, tmp_path):
    model, fresh = backbone(variant), backbone(variant)
    delta = attach_or_skip(model, spec).eval()
    scramble(delta)
    surgery.save(delta, tmp_path / "delta.safetensors")
    again = surgery.load(attach_or_skip(fresh, spec).eval(), tmp_path / "delta.safetensors")
    assert same(delta.tensors(), again.tensors())
    drawn = {f"{at}.{name}" for at, module in delta.named_modules() for name in module._non_persistent_buffers_set}
    kept = {*dict(delta.named_parameters()), *dict(delta.named_buffers())} - drawn  # the rest comes from a seed again
    assert {*delta.tensors()} == kept
    for first, second in zip(model(*batch(*LENGTHS)), fresh(*batch(*LENGTHS)), strict=True):
        assert torch.equal(first, second)


@torch.no_grad()
@EVERY
def test_padded_is_unpadded_and_merged_is_attached_or_refused_with_nothing_changed(variant, spec):
    model = backbone(variant)
    hanging = hooks(model)
    delta = attach_or_skip(model, spec).eval()
    scramble(delta)
    attached, tensors = model(*batch(*LENGTHS)), snapshot(model)
    for row, samples in enumerate(LENGTHS):
        for padded, direct in zip(attached, model(*alone(samples)), strict=True):
            assert_close(padded[row, : direct.shape[1]], direct[0], atol=5e-5, rtol=1e-3)
    try:
        delta.merge()
    except RecipeError as refusal:
        assert "cannot be merged" in str(refusal)
        assert any(call.name not in MERGING for call in registry.parse(spec))
        assert same(tensors, snapshot(model))
        assert equal(attached, model(*batch(*LENGTHS)))
        return
    assert not any(call.name == "bottleneck" for call in registry.parse(spec))
    assert hooks(model) == hanging
    delta.detach()  # after a merge there is nothing to take off
    for old, new in zip(attached, model(*batch(*LENGTHS)), strict=True):
        assert_close(old, new, atol=5e-5, rtol=1e-4)


@SOME
@pytest.mark.parametrize("name", method_names())
def test_a_range_of_blocks_edits_those_blocks_only(variant, name):
    model = backbone(variant)
    with torch.no_grad():
        before = model(*batch(*LENGTHS))
    if name in WITHOUT_BLOCKS:
        with pytest.raises(RecipeError, match=r"a range has no effect|has no site"):
            pegbox.attach(model, f'{name}(blocks="-1:")')
        return
    options = 'blocks="-1:", choose="magnitude"' if name == "child" else 'blocks="-1:"'
    delta = attach_or_skip(model, f"{name}({options})")
    sites = [edit.site for term in delta.terms for edit in term.edits]
    assert {site.block for site in sites} - {None} == {DEPTH - 1}
    if delta.lowest == DEPTH - 1:
        scramble(delta)
        with torch.no_grad():
            after = model(*batch(*LENGTHS))
        assert all(torch.equal(old, new) for old, new in zip(before[:-1], after[:-1], strict=True))


@SOME
@pytest.mark.parametrize(
    ("spec", "lowest"),
    [
        ("linear_probe", None),
        ("full", -1),
        ("lora", 0),
        ('lora(blocks="1")', 1),
        ('lora(blocks="2") + bitfit(blocks="1:")', 1),
        ('bottleneck(at=["frames"])', -1),
        ('bottleneck(at=["ffn"], blocks="2")', 2),
    ],
)
def test_the_lowest_edited_block(variant, spec, lowest):
    assert pegbox.attach(backbone(variant), spec).lowest == lowest


@SOME
def test_nothing_below_the_lowest_edit_is_back_propagated(variant):
    model = backbone(variant)
    pegbox.attach(model, 'lora(blocks="1:")')
    state = model.stem(*batch(*LENGTHS))
    needs = [x.requires_grad for x in model.fold(state)]
    assert needs == [False, False, True, True]


@torch.no_grad()
@SOME
def test_terms_of_a_union_of_one_method_are_kept_apart(variant):
    model = backbone(variant)
    delta = pegbox.attach(model, "lora(rank=2) + lora(rank=3) + bitfit")
    assert [term.name for term in delta.terms] == ["lora", "lora-2", "bitfit"]
    assert delta.tensors()["edits.lora:0/q.down"].shape[0] == 2
    assert delta.tensors()["edits.lora-2:0/q.down"].shape[0] == 3


@torch.no_grad()
@SOME
def test_a_union_adds_its_parts(variant):
    both, first = backbone(variant), backbone(variant)
    union = pegbox.attach(both, 'lora(rank=2) + lora(rank=3, at=["q"])')
    part = pegbox.attach(first, "lora(rank=2)")
    scramble(part)
    for name, tensor in part.tensors().items():
        union.state_dict()[name].copy_(tensor)  # the second term keeps its zeros
    assert all(torch.equal(a, b) for a, b in zip(both(*alone(4000)), first(*alone(4000)), strict=True))


@SOME
def test_the_keys_bias_has_no_gradient_but_rounding(variant):
    model = backbone(variant)
    delta = pegbox.attach(model, "bitfit")
    largest = train(model, delta, steps=1)
    idle = {name: size for name, size in largest.items() if blind(name)}
    assert len(idle) == (0 if variant == "whisper" else DEPTH)
    assert all(size < 1e-4 * max(largest.values()) for size in idle.values())


@SOME
def test_tensors_of_another_method_are_refused(variant, tmp_path):
    surgery.save(pegbox.attach(backbone(variant), "lora(rank=2)"), tmp_path / "delta.safetensors")
    with pytest.raises(
        WeightsError, match=r"do not fit .* 'edits\.lora:0/q\.down': stored \(2, 32\), wanted \(3, 32\)"
    ):
        surgery.load(pegbox.attach(backbone(variant), "lora(rank=3)"), tmp_path / "delta.safetensors")
    with pytest.raises(WeightsError, match="not at all"):
        surgery.load(pegbox.attach(backbone(variant), "bitfit"), tmp_path / "delta.safetensors")


def test_bf16_blocks_take_fp32_deltas():
    model = backbone("hubert-layer-pre", "bf16")
    delta = pegbox.attach(model, "lora(rank=2) + bottleneck(size=4, norm=True) + bitfit")
    largest = train(model, delta)
    assert all(size > 0 for name, size in largest.items() if not blind(name))
    assert {tensor.dtype for tensor in delta.parameters()} == {torch.float32}
    assert model(*alone(4000))[1].dtype == torch.bfloat16
