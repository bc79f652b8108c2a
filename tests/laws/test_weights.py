"""Methods on weights: what they compute, written out; what is drawn from a seed; what a file keeps."""

import pytest
import torch
from _models import WIDTH, alone, backbone, same
from torch.nn import functional as F
from torch.testing import assert_close

import pegbox
from pegbox.methods._weights import uniform
from pegbox.training.optim import multiples

DRAWN = [6657231.0, -1580711.0, 3604351.0]  # 24-bit fractions of the generator, exact in fp32
VARIANT = "hubert-layer-pre"
CLIP = alone(4000)


def attached(spec, variant=VARIANT):
    model = backbone(variant)
    return model, pegbox.attach(model, spec).eval()


def module_at(delta, place):
    return next(module for name, module in delta.edits.items() if place in name)


@torch.no_grad()
def scrambled(spec):
    """Returns the weight of a first query as it was, as it is under a trained method, and the method's module."""
    plain = next(backbone(VARIANT).sites()("q")).owner.weight
    model, delta = attached(spec)
    for tensor in delta.parameters():
        tensor.add_(torch.randn_like(tensor) * 0.1)
    module = module_at(delta, ":0/q")
    return plain, next(model.sites()("q")).owner.weight, module


@torch.no_grad()
def test_dora_is_its_formula():
    plain, edited, module = scrambled("lora(rank=2, alpha=6, dora=True)")
    turned = plain + 3 * module.up @ module.down
    assert_close(edited, module.magnitude[:, None] * turned / turned.norm(dim=1, keepdim=True))
    assert_close(edited.norm(dim=1), module.magnitude.abs())


def test_doras_norm_is_a_constant_in_the_backward_pass():
    _, delta = attached("lora(rank=2, alpha=2, dora=True)")
    module, weight = module_at(delta, ":0/q"), torch.randn(WIDTH, WIDTH)
    with torch.no_grad():
        module.up.normal_()
    module(weight).sum().backward()
    turned = (weight + module.up @ module.down).detach()
    factors = module.magnitude.detach() / turned.norm(dim=1)
    assert_close(module.up.grad, factors[:, None] * module.down.detach().sum(1))


@torch.no_grad()
def test_the_root_of_the_rank_scales():
    plain, edited, module = scrambled("lora(rank=4, alpha=6, rslora=True, dora=True)")
    turned = plain + 3 * module.up @ module.down
    assert_close(edited, module.magnitude[:, None] * turned / turned.norm(dim=1, keepdim=True))
    _, delta = attached("lora(rank=4, alpha=6, rslora=True)")
    assert module_at(delta, ":0/q").scale == 3


@torch.no_grad()
def test_lora_on_a_convolution_is_filters_of_its_kernel_under_a_1x1():
    model, delta = attached('lora(rank=2, alpha=2, at=["conv.1"])')
    module = module_at(delta, "conv/1")
    module.up.normal_()
    conv = next(model.sites()("conv.1")).owner
    x = torch.randn(2, conv.in_channels, 50)
    beside = F.conv1d(F.conv1d(x, module.down, stride=conv.stride), module.up[..., None])
    edited = conv(x)
    delta.detach()
    assert_close(edited, conv(x) + beside, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_hydra_is_its_formula():
    model, delta = attached("hydra(rank=2, scale=0.5)")
    for tensor in delta.parameters():
        tensor.add_(torch.randn_like(tensor) * 0.1)
    module, down = module_at(delta, ":0/down"), next(model.sites()("down")).owner
    x = torch.randn(2, 5, down.in_features)
    edited = down(x)
    delta.detach()
    plain = down(x)
    assert_close(edited, plain + 0.5 * (module.parallel(x) + module.sequential(plain)))


@torch.no_grad()
@pytest.mark.parametrize("spec", ["vera(rank=4, seed={})", "lora_fa(rank=4, seed={})"])
def test_what_is_frozen_comes_from_the_seed_and_is_in_no_file(spec):
    torch.manual_seed(1)
    _, first = attached(spec.format(5))
    torch.manual_seed(2)
    _, again = attached(spec.format(5))
    _, other = attached(spec.format(6))
    drawn = [dict(delta.named_buffers()) for delta in (first, again, other)]
    assert same(drawn[0], drawn[1]) and not same(drawn[0], drawn[2])
    assert not drawn[0].keys() & first.tensors().keys()


def test_what_is_drawn_is_the_same_on_every_machine():
    drawn = (uniform(1, 3, 1.0, 3, "A") * 2**23)[0].tolist()
    assert drawn == DRAWN, "the numbers that released files rely on have changed"


def test_all_sites_share_one_pair_of_matrices():
    _, delta = attached("vera(rank=4)")
    assert len(dict(delta.named_buffers())) == 2
    assert {id(module.shared[0]) for module in delta.edits.values()} == {id(module_at(delta, ":0/q").kept)}


def test_the_draw_at_a_site_does_not_depend_on_the_others():
    _, whole = attached("lora_fa(rank=2)")
    _, part = attached('lora_fa(rank=2, blocks="1:", at=["v"])')
    assert torch.equal(module_at(whole, ":1/v").down, module_at(part, ":1/v").down)


@pytest.mark.parametrize("more", ["", ", dora=True", ', at=["conv", "q"]'])
def test_each_form_of_lora_tells_the_rate_of_its_second_factor(more):
    _, delta = attached(f"lora(rank=2, up_rate=16{more})")
    ups = {name for name, _ in delta.named_parameters() if name.endswith(".up")}
    assert multiples(delta) == dict.fromkeys(ups, 16.0)


@pytest.mark.parametrize("variant", ["hubert-group-post", "hubert-layer-pre", "data2vec"])
def test_a_front_end_adapter_is_trained_by_the_stem(variant):
    model, delta = attached("chapter", variant)
    assert delta.lowest == -1 and len(delta.edits) == 7
    state = model.stem(*CLIP)
    assert state.x.requires_grad
    state.x.square().sum().backward()
    convs = {name: tensor.grad for name, tensor in delta.named_parameters() if name.endswith("conv.weight")}
    assert len(convs) == 7 and all(grad is not None and grad.abs().max() > 0 for grad in convs.values())


@pytest.mark.parametrize(("variant", "kinds"), [("hubert-group-pre", 1), ("hubert-layer-pre", 7)])
def test_a_front_end_adapter_has_the_norms_of_its_blocks(variant, kinds):
    _, delta = attached("chapter", variant)
    assert sum(module.norm is not None for module in delta.edits.values()) == kinds


@pytest.mark.parametrize(
    "spec",
    [
        *("lora(rank=2, dora=True)", "lora_fa(rank=2)", "vera(rank=4)", "hydra(rank=2)"),
    ],
)
def test_bf16_blocks_take_fp32_numbers(spec):
    model = backbone(VARIANT, "bf16")
    delta = pegbox.attach(model, spec)
    states = model(*CLIP)
    assert states[1].dtype == torch.bfloat16
    states[-1].square().mean().backward()
    assert {tensor.dtype for tensor in delta.parameters()} == {torch.float32}
    assert any(tensor.grad is not None and tensor.grad.abs().max() > 0 for tensor in delta.parameters())
    with torch.no_grad():
        delta.eval().merge()
    assert next(model.sites()("q")).owner.weight.dtype == torch.bfloat16
