"""The recurrent head hears what a packed sequence of torch hears, trained and not, whatever the padding holds."""

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from pegbox.tasks._heads import Recurrent

FRAMES = torch.tensor([9, 1, 12, 5])


def packed(head: Recurrent, x: Tensor) -> Tensor:
    kept = pack_padded_sequence(head.projector(x), FRAMES, batch_first=True, enforce_sorted=False)
    return head.linear(pad_packed_sequence(head.lstm(kept)[0], batch_first=True, total_length=x.shape[1])[0])


def real(outputs: Tensor) -> Tensor:
    return torch.cat([one[:count] for one, count in zip(outputs, FRAMES.tolist(), strict=True)])


@pytest.mark.parametrize("both_ways", [False, True])
@pytest.mark.parametrize("layers", [1, 2])
def test_a_recurrent_head_is_torch_s_lstm_over_packed_sequences(layers: int, both_ways: bool):
    torch.manual_seed(0)
    head, x = Recurrent(6, 3, 5, layers, both_ways, projection=4).eval(), torch.randn(4, 12, 6)
    found = []
    for outputs in (head(x, FRAMES), packed(head, x)):
        head.zero_grad()
        real(outputs).square().sum().backward()
        found.append(
            (real(outputs).detach(), [each.grad.clone() for each in head.parameters() if each.grad is not None])
        )
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)
    assert len(found[0][1]) == len(list(head.parameters()))


@pytest.mark.parametrize("both_ways", [False, True])
def test_padding_is_never_heard(both_ways: bool):
    head, x = Recurrent(6, 3, 5, 2, both_ways).eval(), torch.randn(4, 12, 6)
    other = x.clone()
    other[1, 1:], other[3, 5:] = 1e4, -7.0
    assert torch.equal(real(head(x, FRAMES)), real(head(other, FRAMES)))
