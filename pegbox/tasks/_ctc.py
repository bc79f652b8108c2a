"""What tasks by CTC (Graves et al., 2006) share: targets, loss, greedy paths, and SUPERB's heads (arXiv:2105.01051)."""

from collections.abc import Sequence
from itertools import groupby, pairwise
from typing import Final, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pegbox.tasks._augment import Augmented
from pegbox.tasks._heads import PerFrame, Recurrent

BLANK: Final = "<blank>"
UNKNOWN: Final = "<unk>"
Network = Literal["linear", "projected", "recurrent"]
_SUPERB: Final = {"projected": 256, "recurrent": 1024}


def least_frames(units: Sequence[str]) -> int:
    """Returns units plus one blank between equal neighbours: CTC cannot emit more than one unit a frame."""
    return max(1, len(units) + sum(left == right for left, right in pairwise(units)))


def head(network: Network, hidden: int, augment: bool, width: int, outputs: int) -> nn.Module:
    """Returns linear layers, or two bidirectional LSTMs behind a projection; `hidden` 0 is SUPERB's width."""
    hidden = hidden or _SUPERB.get(network, 0)
    made: nn.Module
    if network == "recurrent":
        made = Recurrent(width, outputs, hidden, layers=2, both_ways=True, projection=hidden)
    else:
        made = PerFrame(width, outputs) if network == "linear" else PerFrame(width, hidden, outputs)
    return Augmented(made) if augment else made


def loss(
    logits: Tensor, frames: Tensor, units: Sequence[Sequence[str]], vocabulary: Sequence[str]
) -> Tensor:  # (batch, time, units)
    """Returns CTC's loss a target unit, averaged over the clips; units without an output are unknown, or left out."""
    index = {unit: number for number, unit in enumerate(vocabulary)}
    known = [[index.get(unit, index.get(UNKNOWN)) for unit in clip] for clip in units]
    targets = [[number for number in clip if number is not None] for clip in known]
    flat = torch.tensor([number for target in targets for number in target], device=logits.device, dtype=torch.long)
    lengths = torch.tensor([len(target) for target in targets])
    chances = logits.float().log_softmax(-1).transpose(0, 1)  # (time, batch, units)
    return F.ctc_loss(chances, flat, frames.cpu(), lengths, blank=0, reduction="mean")


def greedy(
    logits: Tensor, frames: Tensor, vocabulary: Sequence[str], collapse: bool = True
) -> list[list[str]]:  # (batch, time, units)
    """Returns the likeliest unit of every frame, repeats and then blanks dropped."""
    found = []
    for row, count in zip(logits.argmax(-1).tolist(), frames.tolist(), strict=True):
        path = [number for number, _ in groupby(row[:count])] if collapse else row[:count]
        found.append([vocabulary[number] for number in path if number])
    return found
