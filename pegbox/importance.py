"""Which entries of many tensors matter most: exact selection without putting them together, and their distribution.

The float32 bit patterns of numbers that are not negative are in the order of the numbers. Two counts of 16 bits each
therefore find any order statistic exactly; no copy of all numbers is made or sorted.
"""

import math
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from pegbox.errors import NonFiniteError, RecipeError

Rule = Literal["topk", "percentile"]
SHARES: Final = (1e-4, 1e-3, 1e-2, 0.1, 0.3, 1.0)
_HALF: Final = 1 << 16


class Probe(Protocol):
    """What a method may ask of the task's data before it plans."""

    batches: int  # that the importance of the last look comes from

    def importance(self, tensors: Mapping[str, Tensor], wish: Any) -> Generator[dict[str, Tensor]]:
        """Yields the importance of every entry of these tensors of the network, fp32 and not negative.

        Once, after all batches; where `wish.stable`, also as it stands at looks before. Close it to stop there.
        """


@dataclass(frozen=True)
class Decided:
    """A method's choice, under the names that an artefact gives the tensors, and a report to keep beside the run."""

    tensors: dict[str, Tensor]
    report: dict[str, object] = field(default_factory=dict)


def select(importance: Mapping[str, Tensor], shares: Sequence[float], rule: Rule = "topk") -> list[dict[str, Tensor]]:
    """Returns for each share of all entries, the most important ones: by name, flat places in ascending order (int32).

    `topk` keeps exactly round(share · entries), the first ones of equals, and never an entry of zero importance.
    `percentile` keeps what is not below numpy's linearly interpolated percentile in float32, as the Child-Tuning code
    does: all equals at the threshold, and everything where that is zero. A smaller choice lies within a larger one.

    Raises:
        NonFiniteError: with the tensor's name, where an importance is not a finite number.
    """
    _check(importance, shares)
    tensors = {name: tensor.detach().reshape(-1) for name, tensor in importance.items()}
    count = sum(len(tensor) for tensor in tensors.values())
    kept = [round(share * count) for share in shares]
    if rule == "topk":
        least = order_statistics(list(tensors.values()), [count - max(each, 1) for each in kept])
        wanted = [(value, each if value > 0 else 0) for value, each in zip(least, kept, strict=True)]
    else:
        wanted = [(threshold(tensors.values(), share), count) for share in shares]
    return [_at_least(tensors, value, most) for value, most in wanted]


def threshold(tensors: Iterable[Tensor], share: float) -> float:
    """Returns numpy's percentile 100 · (1 − share) of all entries, rounded to float32 as the comparison is."""
    flat = [tensor.detach().reshape(-1) for tensor in tensors]
    count = sum(len(each) for each in flat)
    place = (count - 1) * ((1 - share) * 100 / 100)
    low = min(max(math.floor(place), 0), count - 1)
    high = min(low + 1, count - 1)
    before, after = (np.float32(each) for each in order_statistics(flat, (low, high)))
    part, gap = place - low, after - before
    between = before + gap * part if part < 0.5 else after - gap * (1 - part)
    return float(np.float32(between))


def order_statistics(tensors: Sequence[Tensor], places: Sequence[int]) -> list[float]:
    """Returns the entries that stand at these places (from 0) when all are sorted upwards; none may be negative."""
    return [rank.value for rank in _ranked(tensors, places)]


def mass(importance: Mapping[str, Tensor], shares: Sequence[float] = SHARES) -> dict[float, float]:
    """Returns the part of all importance that the most important entries hold, for several shares of entries."""
    tensors = [tensor.detach().reshape(-1) for tensor in importance.values()]
    count = sum(len(tensor) for tensor in tensors)
    sizes = [max(round(share * count), 1) for share in shares]
    sums = torch.zeros(_HALF // 2, dtype=torch.float64)
    for tensor in tensors:
        sums += torch.bincount(_bits(tensor) >> 16, tensor.double(), _HALF // 2).cpu()
    total, above = float(sums.sum()), sums.flip(0).cumsum(0).flip(0)
    found = {}
    for share, kept, rank in zip(shares, sizes, _ranked(tensors, [count - each for each in sizes]), strict=True):
        lows = torch.arange(rank.lower + 1, _HALF, dtype=torch.int32)
        near = (rank.lows[rank.lower + 1 :] * (lows | rank.upper << 16).view(torch.float32).double()).sum()
        higher = float(near) + (float(above[rank.upper + 1]) if rank.upper + 1 < len(above) else 0.0)
        found[share] = (higher + (kept - rank.larger) * rank.value) / total if total else 0.0
    return found


@dataclass(frozen=True)
class _Rank:
    """An entry by the two halves of its bits, how many entries are larger, and how many share its upper half, by the
    lower one."""

    upper: int
    lower: int
    larger: int
    lows: Tensor  # (65,536,)

    @property
    def value(self) -> float:
        return float(np.array([self.upper << 16 | self.lower], dtype=np.int32).view(np.float32)[0])


def _ranked(tensors: Sequence[Tensor], places: Sequence[int]) -> list[_Rank]:
    """Returns the entries at these places when all are sorted upwards: two looks at each tensor, whatever the number of
    places; the second takes only those that share the upper half of their bits with one of them."""
    highs = torch.as_tensor(sum(_counts(_bits(tensor) >> 16, _HALF // 2) for tensor in tensors))
    ends = highs.cumsum(0)
    uppers = [int(torch.searchsorted(ends, place, right=True)) for place in places]
    near = torch.zeros(_HALF // 2, dtype=torch.bool)
    near[uppers] = True
    lows = {upper: torch.zeros(_HALF, dtype=torch.long) for upper in uppers}
    for tensor in tensors:
        bits = _bits(tensor)
        bits = bits[near.to(bits.device)[bits >> 16]]
        for upper, counts in lows.items():
            counts += _counts(bits[(bits >> 16) == upper] & (_HALF - 1), _HALF)
    found = []
    for place, upper in zip(places, uppers, strict=True):
        inside = lows[upper].cumsum(0)
        lower = int(torch.searchsorted(inside, place - int(ends[upper] - highs[upper]), right=True))
        larger = int(ends[-1] - ends[upper] + inside[-1] - inside[lower])
        found.append(_Rank(upper, lower, larger, lows[upper]))
    return found


def overlap(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> float:
    """Returns the part of the second choice's entries that the first one has too."""
    names = first.keys() & second.keys()
    shared = sum(int(torch.isin(second[name], first[name], assume_unique=True).sum()) for name in names)
    return shared / max(sum(len(index) for index in second.values()), 1)


def pack(index: Tensor, entries: int) -> tuple[Tensor, Tensor]:
    """Returns ascending places below `entries` in about 2 + log2(entries / places) bits each (Elias and Fano).

    The low bits of each place stand side by side; the rest is a row of bits with one set at (rest + number of the
    place).
    """
    places = index.cpu().numpy().astype(np.int64)
    width = _low_bits(entries, len(places))
    lows = (places[:, None] >> np.arange(width)) & 1
    highs = np.zeros(len(places) + (entries >> width) + 1, dtype=np.uint8)
    highs[(places >> width) + np.arange(len(places))] = 1
    packed = (np.packbits(bits.astype(np.uint8).reshape(-1), bitorder="little") for bits in (lows, highs))
    low, high = (torch.from_numpy(each) for each in packed)
    return low, high


def unpack(low: Tensor, high: Tensor, entries: int) -> Tensor:
    """Returns the places that `pack` was given, as int32."""
    set_bits = np.flatnonzero(np.unpackbits(high.cpu().numpy(), bitorder="little"))
    rests = set_bits - np.arange(len(set_bits))
    width = _low_bits(entries, len(rests))
    bits = np.unpackbits(low.cpu().numpy(), count=len(rests) * width, bitorder="little").reshape(len(rests), width)
    lows = (bits.astype(np.int64) << np.arange(width)).sum(1)
    return torch.from_numpy(((rests << width) | lows).astype(np.int32))


def _low_bits(entries: int, places: int) -> int:
    return max(0, math.floor(math.log2(entries / places))) if places else 0


def _at_least(tensors: Mapping[str, Tensor], least: float, most: int) -> dict[str, Tensor]:
    """Returns the places of entries of at least this importance; of those that equal it as many as `most` leaves."""
    found = {name: (tensor >= least).nonzero()[:, 0].int() for name, tensor in tensors.items()}
    surplus = sum(len(index) for index in found.values()) - most
    for name in reversed(found):
        if surplus > 0:  # the last ones of equals go
            equal = (tensors[name][found[name]] == least).nonzero()[:, 0][-surplus:]
            found[name] = _without(found[name], equal)
            surplus -= len(equal)
    return {name: index for name, index in found.items() if len(index)}


def _without(index: Tensor, places: Tensor) -> Tensor:
    keep = torch.ones(len(index), dtype=torch.bool, device=index.device)
    keep[places] = False
    return index[keep]


def _check(importance: Mapping[str, Tensor], shares: Sequence[float]) -> None:
    wrong = [share for share in shares if not 0 < share <= 1]
    if wrong:
        raise RecipeError(f"keep={wrong[0]}: a share of all entries, above 0 and up to 1")
    for name, tensor in importance.items():
        if not bool(torch.isfinite(tensor).all()):
            raise NonFiniteError(
                f"the importance of '{name}' holds {int((~torch.isfinite(tensor)).sum())} numbers that are not finite; "
                'lower the precision\'s risk with train.precision = "fp32", or look for broken clips'
            )
        if tensor.numel() and float(tensor.min()) < 0:
            raise RecipeError(f"the importance of '{name}' is negative; only the order of sizes is meant")


def _bits(tensor: Tensor) -> Tensor:
    return tensor.detach().reshape(-1).float().view(torch.int32)


def _counts(numbers: Tensor, most: int) -> Tensor:
    return torch.bincount(numbers, minlength=most).cpu()
