"""Gradient checkpointing that is not re-entrant, on a caller's own model: every method has the same gradients."""

import pytest
import torch
from _models import EXAMPLES, ONE_EACH, SMALL, alone, attach_or_skip, method_names, network, perturb
from torch import nn
from torch.testing import assert_close

from pegbox.backbones import families
from pegbox.sites import Reframing

pytestmark = pytest.mark.filterwarnings("ignore")
BESIDE = ("elp", "inner_inter", "inter_adapter", "l_adapter", "ladder", "unipet_spk")  # refused on a bare model
METHODS = [name for name in method_names() if name not in (*BESIDE, "linear_probe", "weighted_sum", "downsample")]


def inputs(variant):
    """Returns what the network itself eats."""
    generator = torch.Generator().manual_seed(2)
    if variant == "whisper":
        return torch.randn(2, 20, 300, generator=generator)
    if variant == "w2v_bert":
        return torch.randn(2, 24, 40, generator=generator)
    return torch.randn(2, 128, 128, generator=generator) if variant == "ast" else alone(4000)[0]


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("variant", ONE_EACH)
def test_recomputed_blocks_give_the_same_gradients(variant, name):
    spec = EXAMPLES.get(name, (name,))[0]
    found, passes = [], []
    for checkpointing in (False, True):
        model = network(variant)
        torch.manual_seed(1)
        core = model.get_submodule(families()[SMALL[variant].family].inside).train()
        delta = attach_or_skip(model, spec)
        if variant.startswith("wavlm") and any(isinstance(module, Reframing) for module in delta.modules()):
            pytest.skip("prompts inside WavLM's blocks need Pegbox's own fold, which says so")
        perturb(delta)
        if checkpointing:
            model.activation_checkpointing_enable({"use_reentrant": False})
        calls = []
        last = core.get_submodule(families()[SMALL[variant].family].blocks)[-1]
        norm = next(part for part in last.modules() if isinstance(part, nn.LayerNorm))
        norm.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        torch.manual_seed(2)  # dropout is on, and drawn again alike
        core(inputs(variant))[0].square().mean().backward()
        passes.append(len(calls))
        found.append({key: tensor.grad for key, tensor in delta.named_parameters()})
    assert passes == [1, 2]
    plain, recomputed = found
    assert any(gradient is not None and bool(gradient.any()) for gradient in plain.values())
    for key, gradient in plain.items():
        assert (gradient is None) == (recomputed[key] is None), key
        if gradient is not None:
            assert_close(gradient, recomputed[key], atol=1e-7, rtol=1e-5)
