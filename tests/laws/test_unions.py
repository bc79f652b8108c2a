"""Unions of any two methods: attached, taken off and attached again, every bit is the same."""

import random
from itertools import combinations

import pytest
import torch
from _models import EXAMPLES, ONE_EACH, alone, backbone, hooks, method_names, same, snapshot

from pegbox import methods
from pegbox.delta import Delta
from pegbox.errors import RecipeError

PAIRS = [f"{one} + {other}" for one, other in combinations([EXAMPLES.get(n, (n,))[0] for n in method_names()], 2)]
REFUSED = ("has no site", "is no linear", "stand between the network and the head", "library is not installed")
TRIED = 8


def attached(model, spec):
    """Returns a union on a network, or None where one of the two has no place on it or both want the same."""
    try:
        return Delta(model.core, methods.plan(methods.parse(spec), model.sites()), model.family.unused).eval()
    except RecipeError as refusal:
        assert any(reason in str(refusal) for reason in REFUSED), f"{spec}: {refusal}"
        return None


def test_every_pair_comes_off_without_a_trace():
    model = backbone("hubert-group-pre")
    frozen, hanging, order = snapshot(model), hooks(model), [id(tensor) for tensor in model.core.parameters()]
    taken = 0
    for spec in PAIRS:
        delta = attached(model, spec)
        if delta is None:
            assert hooks(model) == hanging, spec
            continue
        delta.detach()
        taken += 1
        assert hooks(model) == hanging, spec
        assert sorted(order) == sorted(id(tensor) for tensor in model.core.parameters()), spec
    assert taken > len(PAIRS) * 0.8
    assert same(frozen, snapshot(model))


@torch.no_grad()
@pytest.mark.parametrize("variant", ONE_EACH)
def test_attached_again_it_gives_the_same_bits(variant):
    model = backbone(variant)
    frozen, plain = snapshot(model), model(*alone(4000))
    drawn = random.Random(variant)
    tried = 0
    for spec in drawn.sample(PAIRS, len(PAIRS)):
        first = attached(model, spec)
        if first is None:
            continue
        for tensor in first.parameters():
            tensor.add_(torch.randn_like(tensor) * 0.05)
        wanted = model(*alone(4000))
        numbers = {name: tensor.clone() for name, tensor in first.tensors().items()}  # full's are the network's own
        first.detach()
        assert same(frozen, snapshot(model)), spec
        again = attached(model, spec).load_tensors(numbers)
        assert same(numbers, again.tensors()), spec
        for old, new in zip(wanted, model(*alone(4000)), strict=True):
            assert torch.equal(old, new), spec
        again.detach()
        for old, new in zip(plain, model(*alone(4000)), strict=True):
            assert torch.equal(old, new), spec
        tried += 1
        if tried == TRIED:
            return
    raise AssertionError(f"{variant}: {tried} pairs only")
