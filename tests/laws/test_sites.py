"""Every site of every family is real: an edit there moves the output and learns, and leaves no trace."""

import pytest
import torch
from _models import (
    DEPTH,
    VARIANTS,
    WIDTH,
    alone,
    backbone,
    batch,
    differs,
    hooks,
    library_core,
    same,
    snapshot,
    toy_loss,
)
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.testing import assert_close

from pegbox.backbones import families, find_sites
from pegbox.blocks import select_blocks
from pegbox.delta import Delta, Term
from pegbox.errors import RecipeError
from pegbox.sites import BLOCK_ROLES, STEM_ROLES, around, in_order, on, owned

LENGTHS = (6000, 4000)
SITES = [(variant, site.name) for variant in VARIANTS for site in backbone(variant).sites().table]


class Nudge(nn.Module):
    """y + a small trained number; at `memory` one for the keys' first channel and one for the values."""

    def __init__(self, size: float = 0.05):
        super().__init__()
        self.amount = nn.Parameter(torch.tensor(size))

    def forward(self, x, y):
        if isinstance(y, tuple):
            key, value = y
            return key + self.amount * key.flip(-2), value + self.amount
        ramp = torch.linspace(-1, 1, y.shape[-1]).to(y.dtype)  # a layer norm cannot see a constant
        return y + self.amount * (1 + ramp)


class Same(nn.Module):
    """The identity."""

    def forward(self, x, y):
        return y


class Extra(nn.Module):
    """Two trained keys and values before the clip's own."""

    def __init__(self):
        super().__init__()
        self.pair = nn.Parameter(torch.randn(2, 1, 4, 2, WIDTH // 4))

    def forward(self, x, y):
        before = self.pair.expand(-1, len(y[0]), -1, -1, -1)
        return tuple(torch.cat([new, old], dim=2) for new, old in zip(before, y, strict=True))


class Widths(nn.Module):
    """Writes down what a site is given."""

    def forward(self, x: Tensor, y: Tensor):
        self.seen = (x.shape, y.shape)
        return y


def edited(model, *edits):
    return Delta(model.core, [Term("test", edits)])


def site_named(model, name):
    return next(site for site in model.sites().table if site.name == name)


@pytest.mark.parametrize(("variant", "name"), SITES)
def test_an_edit_moves_the_output_and_learns(variant, name):
    model, nudge = backbone(variant), Nudge()
    with torch.no_grad():
        before = model(*batch(*LENGTHS))
    edited(model, around(site_named(model, name), nudge))
    states = model(*batch(*LENGTHS))
    assert differs(before, states)
    toy_loss(states).backward()
    assert nudge.amount.grad.isfinite()
    assert nudge.amount.grad != 0


@torch.no_grad()
@pytest.mark.parametrize("variant", VARIANTS)
def test_an_edit_of_a_block_leaves_lower_states_alone(variant):
    model = backbone(variant)
    before = model(*batch(*LENGTHS))
    for site in model.sites().within("1")(*BLOCK_ROLES):
        delta = edited(model, around(site, Nudge()))
        after = model(*batch(*LENGTHS))
        moved = [not torch.equal(old, new) for old, new in zip(before, after, strict=True)]
        assert moved == [False, False, True, True], site.name
        assert delta.lowest == 1
        delta.detach()


@torch.no_grad()
@pytest.mark.parametrize("variant", VARIANTS)
def test_identities_at_all_sites_change_no_bit_and_detach_leaves_nothing(variant):
    model = backbone(variant)
    before, tensors, hanging = model(*batch(*LENGTHS)), snapshot(model), hooks(model)
    delta = edited(model, *(around(site, Same()) for site in model.sites().table))
    assert hooks(model) > hanging
    for old, new in zip(before, model(*batch(*LENGTHS)), strict=True):
        assert torch.equal(old, new)
    delta.detach()
    assert hooks(model) == hanging
    assert same(tensors, snapshot(model))


@torch.no_grad()
@pytest.mark.parametrize("variant", VARIANTS)
def test_detach_gives_the_output_back(variant):
    model = backbone(variant)
    before, kernel = model(*batch(*LENGTHS)), model.config._attn_implementation
    delta = edited(model, *(around(site, Nudge(0.3)) for site in model.sites().table))
    assert differs(before, model(*batch(*LENGTHS)))
    delta.detach()
    delta.detach()  # twice does no harm
    assert model.config._attn_implementation == kernel
    for old, new in zip(before, model(*batch(*LENGTHS)), strict=True):
        assert torch.equal(old, new)


@torch.no_grad()
@pytest.mark.parametrize("variant", VARIANTS)
def test_edits_of_weights_and_biases_are_real_and_detach_restores_them(variant):
    model = backbone(variant)
    tensors, before = snapshot(model), model(*batch(*LENGTHS))
    owners = {(id(site.owner), tensor): site for site in model.sites().table for tensor in ("weight", "bias")}
    for (_, tensor), site in owners.items():
        if owned(site, tensor) and (site.role, tensor) != ("k", "bias"):  # softmax cannot see the key's bias
            delta = edited(model, on(site, tensor, Stretch()))
            assert differs(before, model(*batch(*LENGTHS))), f"{site.name} {tensor}"
            delta.detach()
    assert same(tensors, snapshot(model))


class Stretch(nn.Module):
    """1.5 w."""

    def forward(self, tensor):
        return tensor * 1.5


@torch.no_grad()
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_declared_widths_are_the_real_ones(variant):
    model = backbone(variant)
    for site in model.sites().table:
        if site.place == "memory" or site.role == "wave":
            continue
        module, axis = Widths(), 1 if site.role.startswith("conv") else -1
        delta = edited(model, around(site, module))
        model(*alone(4000))
        declared = (site.input_width, site.output_width)
        assert tuple(shape[axis] for shape in module.seen) == declared, site.name
        delta.detach()


@torch.no_grad()
@pytest.mark.parametrize("variant", VARIANTS)
def test_prepended_memory_moves_the_output_and_padding_stays_exact(variant):
    model = backbone(variant)
    plain = model(*batch(*LENGTHS))
    edited(model, *(around(site, Extra()) for site in model.sites()("memory")))
    together = model(*batch(*LENGTHS))
    assert differs(plain, together)
    for row, samples in enumerate(LENGTHS):
        for padded, direct in zip(together, model(*alone(samples)), strict=True):
            assert_close(padded[row, : direct.shape[1]], direct[0], atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("variant", VARIANTS)
def test_prepended_memory_learns_in_every_block(variant):
    model = backbone(variant)
    modules = [Extra() for _ in range(DEPTH)]
    edited(model, *map(around, model.sites()("memory"), modules))
    toy_loss(model(*batch(*LENGTHS))).backward()
    for module in modules:
        assert (module.pair.grad != 0).all()


@pytest.mark.parametrize("kernel", ["eager", "sdpa"])
def test_memory_edits_of_a_bare_network_work_for_both_kernels_and_others_are_refused(kernel):
    core = library_core("hubert-layer-pre")
    core.set_attn_implementation(kernel)
    before = core(torch.ones(1, 4000)).last_hidden_state
    site = next(iter(find_sites(families()["hubert"], core, None)("memory")))
    delta = Delta(core, [Term("test", (around(site, Nudge(0.3)),))])
    assert not torch.equal(before, core(torch.ones(1, 4000)).last_hidden_state)
    delta.detach()
    assert core.config._attn_implementation == kernel
    assert torch.equal(before, core(torch.ones(1, 4000)).last_hidden_state)
    core.config._attn_implementation_internal = "flex_attention"
    with pytest.raises(RecipeError, match="'flex_attention' has no memory site"):
        Delta(core, [Term("test", (around(site, Nudge(0.3)),))])


@pytest.mark.parametrize("variant", VARIANTS)
def test_sites_are_in_the_vocabulary_and_in_the_order_of_the_signal(variant):
    sites = backbone(variant).sites()
    for block in range(DEPTH):
        roles = [site.role for site in sites.table if site.block == block]
        assert roles == [role for role in BLOCK_ROLES if role in roles]
        assert {"enter", "q", "k", "v", "o", "up", "down", "leave"} <= set(roles)
    stem = [site for site in sites.table if site.block is None]
    assert {site.role.partition(".")[0] for site in stem} <= set(STEM_ROLES)
    assert in_order(sites.table) == sites.table
    assert len({site.name for site in sites.table}) == len(sites.table)


def test_a_role_selects_in_the_order_of_blocks_and_conv_means_all():
    sites = backbone("hubert-group-post").sites()
    assert [site.name for site in sites.within("1:")("v", "q")] == ["1.q", "1.v", "2.q", "2.v"]
    assert [site.name for site in sites("conv")] == [f"conv.{i}" for i in range(7)]
    assert [site.name for site in sites("conv.3", "frames")] == ["conv.3", "frames"]


def test_a_lacking_site_is_refused_with_those_there_are():
    with pytest.raises(
        RecipeError, match=r"whisper has no site 'conv\.5'; it has wave, conv\.0, conv\.1, frames, enter"
    ):
        list(backbone("whisper").sites()("conv.5"))


def test_an_unknown_site_is_refused_with_the_nearest():
    with pytest.raises(RecipeError, match=r"unknown site 'norm3'; did you mean 'norm[12]'"):
        list(backbone("ast").sites()("norm3"))
    with pytest.raises(RecipeError, match="unknown site 'zzz'; known: attn"):
        list(backbone("ast").sites()("zzz"))


def test_a_tensor_that_a_site_does_not_own_is_refused():
    model = backbone("whisper")
    with pytest.raises(RecipeError, match=r"'0\.k' owns no bias"):
        on(site_named(model, "0.k"), "bias", Stretch())
    with pytest.raises(RecipeError, match=r"'0\.enter' owns no weight"):
        on(site_named(model, "0.enter"), "weight", Stretch())


ENDS = st.one_of(st.just(""), st.integers(-15, 15).map(str))


@given(ENDS, ENDS, st.integers(1, 12))
def test_ranges_of_blocks_are_pythons_slices(low, high, depth):
    expected = tuple(range(depth))[slice(int(low) if low else None, int(high) if high else None)]
    if expected:
        assert select_blocks(f"{low}:{high}", depth) == expected
    else:
        with pytest.raises(RecipeError, match="selects none"):
            select_blocks(f"{low}:{high}", depth)


@given(st.lists(st.integers(-12, 11), min_size=1))
def test_lists_of_blocks_are_sets_in_order(numbers):
    assert select_blocks(",".join(map(str, numbers)), 12) == tuple(sorted({n % 12 for n in numbers}))


@pytest.mark.parametrize("text", ["12", "-13", "0,12", "a", "", ",", "1:2:3", "1.5", "0;1", ":x", "0,"])
def test_blocks_that_are_none_are_refused(text):
    with pytest.raises(RecipeError, match="blocks="):
        select_blocks(text, 12)


def test_a_union_of_ranges():
    assert select_blocks("0,2,-1,5:8", 12) == (0, 2, 5, 6, 7, 11)
