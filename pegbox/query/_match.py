"""How well spoken queries fit into recordings: dynamic time warping of hidden states, with the choices of SUPERB."""

from collections.abc import Iterator, Sequence
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F

SHORTEST: Final = 5  # frames; what is shorter fits everywhere alike
_BLOCK: Final = 20_000  # frames of recordings that are compared at once


def fits(queries: Sequence[Tensor], documents: Sequence[Tensor]) -> Tensor:  # each (frames, width) → (queries, docs)
    """Returns how well each query fits into each document, in deviations from the query's mean over the documents.

    Every number of a frame is first measured in deviations from its mean over all frames of queries and documents.
    """
    mean, deviation = _statistics([*queries, *documents])
    asked, heard = ([F.normalize((x - mean) / deviation, dim=-1) for x in part] for part in (queries, documents))
    found = torch.zeros(len(asked), len(heard))
    for places in _blocks([len(x) for x in heard]):
        padded = torch.nn.utils.rnn.pad_sequence([heard[n] for n in places], batch_first=True)
        lengths = torch.tensor([len(heard[n]) for n in places], device=padded.device)
        for number, query in enumerate(asked):
            if len(query) >= SHORTEST:
                found[number, places] = -costs(query, padded, lengths).cpu()
    return (found - found.mean(1, keepdim=True)) / found.std(1, correction=0, keepdim=True).clamp(min=1e-9)


def costs(query: Tensor, documents: Tensor, lengths: Tensor) -> Tensor:  # (frames, width), (docs, time, width), (docs,)
    """Returns the cost a frame of the query of its cheapest way through a part of each document, (docs,).

    Frames are of length one. A step goes one frame on in the query and none, one or two in the document; a frame costs
    exp(1 - cosine), on a scale from 0 to 1 between the nearest and the farthest frame of the document.
    """
    distance = (1 - documents @ query.T).exp().mT  # (docs, frames, time)
    beyond = (torch.arange(documents.shape[1], device=lengths.device) >= lengths[:, None])[:, None]
    low = distance.masked_fill(beyond, torch.inf).amin(-1, keepdim=True)
    high = distance.masked_fill(beyond, -torch.inf).amax(-1, keepdim=True)
    scaled = ((distance - low) / (high - low).clamp(min=1e-9)).masked_fill(beyond, torch.inf)
    total = scaled[:, 0]
    for frame in scaled[:, 1:].unbind(1):
        before = F.pad(total, (2, 0), value=torch.inf)
        total = frame + torch.minimum(torch.minimum(total, before[:, 1:-1]), before[:, :-2])
    return total.amin(-1) / len(query)


def _statistics(parts: Sequence[Tensor]) -> tuple[Tensor, Tensor]:  # each (frames, width) → (width,), (width,)
    count = sum(len(x) for x in parts)
    mean = torch.stack([x.double().sum(0) for x in parts]).sum(0) / count
    squares = torch.stack([(x.double() - mean).square().sum(0) for x in parts]).sum(0)
    return mean.float(), (squares / (count - 1)).sqrt().clamp(min=1e-9).float()


def _blocks(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Yields places of documents that are alike in length, as many as make a block."""
    block: list[int] = []
    for place in sorted(range(len(lengths)), key=lambda n: lengths[n]):
        if block and (len(block) + 1) * lengths[place] > _BLOCK:
            yield block
            block = []
        block.append(place)
    yield block
