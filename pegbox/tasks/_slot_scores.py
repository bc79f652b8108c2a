"""Scores of slot filling: types of slots, their values letter by letter, and whole values (arXiv:2105.01051)."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jiwer

Values = Mapping[str, Sequence[str]]  # slot → its values in a text, from left to right


def type_f1(wanted: set[str], found: set[str]) -> float:
    """Returns F1 of the slots of one clip; 1 where there are none."""
    return 2 * len(wanted & found) / (len(wanted) + len(found)) if wanted | found else 1.0


def paired(wanted: Values, found: Values) -> Iterator[tuple[str, str]]:
    """Yields every value that should have been found, with the nearest one of its slot that was, or nothing."""
    for slot, values in wanted.items():
        for value in values:
            yield value, min(found.get(slot, [""]), key=lambda other: jiwer.cer(value, other))


def rate(pairs: Sequence[tuple[str, str]], process: Any) -> float:
    """Returns edits over what should have been said, counted by one of jiwer's functions."""
    if not pairs:
        return math.nan
    counted = process([true for true, _ in pairs], [said for _, said in pairs])
    edits = counted.substitutions + counted.deletions + counted.insertions
    return float(edits / (counted.substitutions + counted.deletions + counted.hits))


def edit_f1(pairs: Sequence[tuple[Values, Values]], extra: bool) -> float:
    """Returns F1 of whole values; `extra` counts those of slots that no reference has."""
    hits = misses = false = 0
    for wanted, found in pairs:
        false += sum(len(values) for slot, values in found.items() if extra and slot not in wanted)
        for slot, values in wanted.items():
            right = sum(value in found.get(slot, ()) for value in values)
            hits, misses = hits + right, misses + len(values) - right
            false += len(values) - right if slot in found else 0
    return 2 * hits / (2 * hits + misses + false) if hits + misses + false else math.nan
