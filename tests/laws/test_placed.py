"""Adapters and chosen tensors by their definitions: where they act, and what they compute."""

from types import SimpleNamespace

import pytest
import torch
from _models import DEPTH, WIDTH, alone, backbone, batch
from torch.testing import assert_close
from transformers.models.wav2vec2.modeling_wav2vec2 import Wav2Vec2AttnAdapterLayer

import pegbox
from pegbox.methods import parse, plan

LENGTHS = (6000, 4000)


def planned(model, spec):
    """Returns the edits of one method."""
    return plan(parse(spec), model.sites())[0].edits


def drawn(module):
    """Returns a module with every number drawn."""
    with torch.no_grad():
        for tensor in module.parameters():
            tensor.copy_(torch.randn_like(tensor) * 0.3)
    return module


@torch.no_grad()
@pytest.mark.parametrize(("positions", "expected"), [("first", [[0, 1], [0, 1]]), ("last", [[16, 17], [10, 11]])])
def test_loreft_moves_the_chosen_real_frames_only(positions, expected):
    model = backbone("hubert-layer-pre")
    before = model(*batch(*LENGTHS))
    pegbox.attach(model, f'loreft(positions="{positions}", count=2, blocks="-1")')
    moved = (model(*batch(*LENGTHS))[-1] != before[-1]).any(-1)
    assert [row.nonzero().flatten().tolist() for row in moved] == expected


@torch.no_grad()
def test_loreft_sets_the_subspace_and_leaves_the_rest():
    module = drawn(planned(backbone("hubert-layer-pre"), "loreft(rank=3)")[0].module)
    y = torch.randn(2, 5, WIDTH)
    moved, rows = module(y, y), torch.linalg.qr(module.rows.T).Q.T
    assert_close(rows @ rows.T, torch.eye(3))
    assert_close(moved @ rows.T, module.target(y))  # inside it: the target, whatever was there
    outside = torch.eye(WIDTH) - rows.T @ rows
    assert_close(moved @ outside, y @ outside)


@torch.no_grad()
def test_compacters_weights_are_sums_of_kronecker_products_with_shared_factors():
    first, second, *_ = planned(backbone("hubert-layer-pre"), "compacter(size=8, n=4)")
    for part in (first.module.down, drawn(second.module).up):
        matrices = first.module.shared.matrices
        weight = sum(torch.kron(a, torch.outer(s, t)) for a, s, t in zip(matrices, part.s, part.t, strict=True))
        x = torch.randn(2, 5, weight.shape[0])
        assert_close(part(x), x @ weight + part.bias)
    assert second.module.shared is None


def one_by_one(parts, number, x):  # (frames, in) → (frames, out)
    """What one bottleneck of a mixture makes of frames."""
    return (x @ parts.down[number] + parts.down_bias[number]).relu() @ parts.up[number] + parts.up_bias[number]


@torch.no_grad()
def test_soft_mixtures_hear_weighted_means_of_real_frames():
    module = drawn(planned(backbone("hubert-layer-pre"), "moa(experts=2, size=3, slots=2, scale=3)")[0].module)
    x, y = torch.randn(2, 2, 5, WIDTH).unbind()
    module.real = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    found = module(x, y)
    for clip, frames in enumerate((5, 3)):
        real = x[clip, :frames]
        fits = real @ module.slots
        slots = [(fits[:, slot].softmax(0)[:, None] * real).sum(0, keepdim=True) for slot in range(4)]
        made = torch.cat([one_by_one(module.bottlenecks, slot // 2, given) for slot, given in enumerate(slots)])
        assert_close(found[clip, :frames], y[clip, :frames] + 3 * fits.softmax(1) @ made)


@torch.no_grad()
def test_dense_mixtures_weigh_every_bottleneck_a_frame():
    module = drawn(planned(backbone("hubert-layer-pre"), 'moa(experts=2, size=3, route="dense")')[0].module)
    x, y = torch.randn(2, 2, 5, WIDTH).unbind()
    shares = module.router(x).softmax(-1)
    made = [one_by_one(module.bottlenecks, number, x) for number in range(2)]
    assert_close(module(x, y), y + shares[..., :1] * made[0] + shares[..., 1:] * made[1])


@torch.no_grad()
def test_mms_adapter_is_the_librarys():
    module = drawn(planned(backbone("hubert-layer-pre"), "mms_adapter(size=4)")[0].module)
    library = Wav2Vec2AttnAdapterLayer(SimpleNamespace(adapter_attn_dim=4, hidden_size=WIDTH))
    for own, theirs in ((module.norm, library.norm), (module.down, library.linear_1), (module.up, library.linear_2)):
        theirs.load_state_dict(own.state_dict())
    h = torch.randn(2, 5, WIDTH)
    assert_close(module(h, h), h + library(h))


@torch.no_grad()
@pytest.mark.parametrize("variant", ["hubert-layer-pre", "whisper", "ast"])
def test_ia3_scales_what_the_ffns_last_map_is_given(variant):
    model, factors = backbone(variant), torch.rand(64) + 0.5
    delta = pegbox.attach(model, 'ia3(at=["down"], blocks="0")')
    next(delta.parameters()).copy_(factors)
    attached = model(*alone(4000))
    delta.detach()
    owner = next(iter(model.sites()("down"))).owner
    owner.register_forward_pre_hook(lambda _, inputs: (inputs[0] * factors,))
    assert_close(attached, model(*alone(4000)), atol=1e-5, rtol=1e-4)


def test_which_blocks_are_edited():
    model = backbone("hubert-layer-pre")
    for spec, blocks in (
        ("e_adapter", set(range(DEPTH - 1))),
        ('e_adapter(blocks="1:")', {1, 2}),
        ("top_blocks", {1, 2}),
        ('top_blocks(blocks=":2")', {1}),
    ):
        assert {edit.site.block for edit in planned(model, spec)} == blocks
    assert pegbox.attach(model, "top_blocks").lowest == 1  # what lies below may be cached


def test_parallel_scale_is_trained_where_asked_for():
    model = backbone("hubert-layer-pre")
    module = planned(model, "parallel(scale=0.5, learned_scale=True)")[0].module
    assert module.scale.tolist() == [0.5] and "scale" in dict(module.named_parameters())
    assert planned(model, "parallel")[0].module.scale == 4.0
