"""The copies on which the laws work are whole, and none of them can reach another."""

from copy import deepcopy

import pytest
import torch
from _copies import Original
from _models import VARIANTS, network, same, snapshot
from _synthesis import CONFIGS
from _synthesis import network as speaking
from torch import nn

NETWORKS = dict.fromkeys(VARIANTS, network) | dict.fromkeys(CONFIGS, speaking)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_copy_is_that_of_deepcopy_and_shares_nothing_that_can_change(name):
    first, second = NETWORKS[name](name), NETWORKS[name](name)
    usual = deepcopy(first)
    assert same(snapshot(second), snapshot(usual))
    assert {key: part.training for key, part in second.named_modules()} == {
        key: part.training for key, part in usual.named_modules()
    }
    assert {key: set(vars(part)) for key, part in second.named_modules()} == {
        key: set(vars(part)) for key, part in usual.named_modules()
    }
    assert second.config.to_dict() == first.config.to_dict()
    parts = [{id(part) for part in model.modules()} | {id(model.config)} for model in (first, second)]
    assert not parts[0] & parts[1]
    held = [{tensor.data_ptr() for tensor in snapshot_of(model)} for model in (first, second)]
    assert not held[0] & held[1]


def snapshot_of(model):
    """Returns every tensor that a network holds, those among its plain attributes too."""
    plain = (value for part in model.modules() for value in vars(part).values() if isinstance(value, torch.Tensor))
    return [tensor for tensor in (*model.parameters(), *model.buffers(), *plain) if tensor.numel()]


def test_one_tensor_in_two_places_is_one_in_the_copy_and_stays_trained_or_frozen():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    model[1].bias.requires_grad_(False)
    copy = Original(model).copy()
    assert copy[0].weight is copy[1].weight is not model[0].weight
    assert [tensor.requires_grad for tensor in copy.parameters()] == [True, True, False]
