"""The laws of methods with a part beside the network: what a head reads is alive, exact when padded, and comes off."""

import pytest
import torch
from _models import ONE_EACH, alone, backbone, batch, same, skipping, snapshot, toy_loss
from torch.testing import assert_close

from pegbox import methods
from pegbox.delta import Delta

LENGTHS = (6000, 4000)
SPECS = (
    *("l_adapter(size=8)", "inter_adapter(size=4)", "ladder(reduction=2, heads=2)"),
    *("elp(encoder=4, layer=8, length=2)", "inner_inter(inner=4, inter=3)", "unipet_spk(length=2, inner=4, inter=3)"),
)
EVERY = pytest.mark.parametrize(("variant", "spec"), [(variant, spec) for variant in ONE_EACH for spec in SPECS])


def attached(variant, spec):
    """Returns a backbone, the delta on it, and what a head would read of clips."""
    model = backbone(variant)
    with skipping():
        delta = Delta(model.core, methods.plan(methods.parse(spec), model.sites()))

    def read(wave, lengths):
        state = model.stem(wave, lengths)
        return delta.side([x.float() for x in model.fold(state)], state.mask)

    return model, delta, read


@EVERY
def test_every_part_is_alive_and_the_network_stays_as_it_was(variant, spec):
    frozen = snapshot(backbone(variant).core)
    model, delta, read = attached(variant, spec)
    largest = dict.fromkeys(dict(delta.named_parameters()), 0.0)
    optimiser = torch.optim.AdamW(delta.parameters(), lr=1e-2)
    for _ in range(2):
        states = read(*batch(*LENGTHS))
        assert len(states) == delta.side.count and states[0].shape[2] == delta.side.width
        optimiser.zero_grad()
        toy_loss(states).backward()
        for name, tensor in delta.named_parameters():
            largest[name] = max(largest[name], float(tensor.grad.abs().max()))
        optimiser.step()
    assert [name for name, size in largest.items() if size == 0.0] == []
    delta.detach()
    assert same(frozen, snapshot(model.core))


@torch.no_grad()
@EVERY
def test_padded_is_unpadded(variant, spec):
    _, delta, read = attached(variant, spec)
    for tensor in delta.parameters():
        tensor.add_(torch.randn_like(tensor) * 0.05)
    together = read(*batch(*LENGTHS))
    for row, samples in enumerate(LENGTHS):
        for padded, direct in zip(together, read(*alone(samples)), strict=True):
            assert_close(padded[row, : direct.shape[1]], direct[0], atol=5e-5, rtol=1e-3)
