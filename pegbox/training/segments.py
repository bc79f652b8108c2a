"""Long clips in parts: equal parts before the network and one plain row a clip behind it; random parts to train on."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from pegbox.rows import Row, seconds
from pegbox.tasks import Cuts, Prediction, Task

_PART_OF: Final = "part of"  # the label that says which clip a row is a part of


def cut(rows: Sequence[Row], task: Task) -> list[Row]:
    """Returns the rows, those of longer clips as the parts that the task wants: as few as cover them, evenly placed."""
    if not (isinstance(task, Cuts) and task.segment):
        return list(rows)
    return [part for row in rows for part in _parts(row, seconds(row), task.segment)]


def cropped(rows: Sequence[Row], longest: float, seed: int, epoch: int) -> list[Row]:
    """Returns the rows of one epoch, of longer ones a random part of `longest` seconds; 0 leaves all as they are."""
    if not longest:
        return list(rows)
    draw = np.random.default_rng([abs(seed), epoch])
    places = zip(rows, draw.random(len(rows)).tolist(), strict=True)
    return [_part(row, share * (seconds(row) - longest), longest) for row, share in places]


def some(rows: Sequence[Row], clips: int, seed: int) -> list[Row]:
    """Returns so many clips with all their parts, in the order of the rows; 0, or more than there are, returns all."""
    whole = _clips(rows)
    if not 0 < clips < len(whole):
        return list(rows)
    drawn = np.random.default_rng([abs(seed), len(whole)]).choice(len(whole), clips, replace=False)
    return [row for number in sorted(drawn.tolist()) for row in whole[number]]


def joined(rows: Sequence[Row], found: Mapping[str, Prediction], task: Task) -> list[Prediction]:
    """Returns one plain row a clip, in the order of the rows, of the plain rows of clips and parts by id."""
    return [_joined(parts, found, task) for parts in _clips(rows)]


def _clips(rows: Sequence[Row]) -> list[list[Row]]:
    """Returns the parts of each clip."""
    clips: list[list[Row]] = []
    for row in rows:
        if _PART_OF in row.labels and not row.id.endswith("#0"):
            clips[-1].append(row)
        else:
            clips.append([row])
    return clips


def _part(row: Row, start: float, length: float) -> Row:
    return row if start <= 0 else replace(row, start=row.start + start, end=row.start + start + length)


def _parts(row: Row, length: float, segment: float) -> list[Row]:
    count = math.ceil(length / segment - 1e-6)
    if count < 2:
        return [row]
    starts = [row.start + number * (length - segment) / (count - 1) for number in range(count)]
    labels = {**row.labels, _PART_OF: row.id}
    return [
        replace(row, id=f"{row.id}#{number}", start=start, end=start + segment, labels=labels)
        for number, start in enumerate(starts)
    ]


def _joined(parts: Sequence[Row], found: Mapping[str, Prediction], task: Task) -> Prediction:
    said = [found[part.id] for part in parts]
    if len(said) == 1 or not isinstance(task, Cuts):
        return said[0]
    return {**said[0], "id": parts[0].labels[_PART_OF], **task.join(said)}
