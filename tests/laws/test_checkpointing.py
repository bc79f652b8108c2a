"""Gradient checkpointing that is not re-entrant, on a caller's own model and in our fold: the same gradients."""

import pytest
import torch
from _models import (
    EXAMPLES,
    ONE_EACH,
    SMALL,
    UNIONS,
    alone,
    attach_or_skip,
    backbone,
    batch,
    method_names,
    network,
    perturb,
    toy_loss,
)
from torch import Tensor, nn
from torch.testing import assert_close

from pegbox.backbones import families
from pegbox.sites import Reframing
from pegbox.training import again

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


IN_FOLD = [name for name in method_names() if name not in ("linear_probe", "weighted_sum", "downsample")]
MORE = (
    *("lora(rank=2, dropout=0.3)", "prefix(length=2, projection=4, deviation=1, dropout=0.2)"),
    *("downsample + lora(rank=2)", "shallow_prompt(length=2) + conv_adapter(squeeze=4)", *UNIONS[:1]),
)


def folded(variant, spec, checkpointing):
    """Returns loss, gradients, buffers and how many bytes the blocks of our fold keep until backward."""
    model, kept = backbone(variant), []
    torch.manual_seed(1)
    delta = attach_or_skip(model, spec).train()
    perturb(delta)

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel() * tensor.element_size())
        return tensor

    torch.manual_seed(2)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        state = model.stem(*batch(6000, 4000))
        below = sum(kept)
        states = list(model.fold(state, 0, again.step(model, delta) if checkpointing else None))
        states = delta.side([x.float() for x in states], state.mask) if delta.side else states
        loss = toy_loss(states)
    loss.backward()
    gradients = {name: tensor.grad for name, tensor in delta.named_parameters()}
    inputs = sum(x.numel() * x.element_size() for x in states) if checkpointing else 0  # that the blocks are given
    return loss, gradients, dict(delta.named_buffers()), sum(kept) - below + inputs, delta.lowest


@pytest.mark.parametrize("spec", [*(EXAMPLES.get(name, (name,))[0] for name in IN_FOLD), *MORE])
@pytest.mark.parametrize("variant", ["hubert-layer-pre", "wavlm-layer-post"])
def test_blocks_of_the_fold_compute_again_what_they_do_not_keep(variant, spec):
    plain, again_ = (folded(variant, spec, checkpointing) for checkpointing in (False, True))
    assert torch.equal(plain[0], again_[0])
    assert any(gradient is not None and bool(gradient.any()) for gradient in plain[1].values())
    for name, gradient in plain[1].items():
        if gradient is None:
            assert again_[1][name] is None, name
        else:
            assert_close(again_[1][name], gradient, atol=1e-7, rtol=1e-5)
    assert all(torch.equal(tensor, again_[2][name]) for name, tensor in plain[2].items())
    if plain[4] is not None:  # else nothing in a block is trained
        assert again_[3] < plain[3]
