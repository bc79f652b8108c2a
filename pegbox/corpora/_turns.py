"""Who speaks when: RTTM and UEM files (NIST Rich Transcription), and turns as the label of a clip."""

import json
from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import NamedTuple

from pegbox.corpora import _read
from pegbox.errors import CorpusError


class Turn(NamedTuple):
    """One voice from `start` to `end` seconds of a file."""

    speaker: str
    start: float
    end: float


def rttm(path: Path) -> dict[str, list[Turn]]:
    """Returns file → turns by time of an RTTM file's SPEAKER lines."""
    found: dict[str, list[Turn]] = {}
    for number, line in enumerate(_read.lines(path), 1):
        cells = line.split()
        if cells[0] != "SPEAKER":
            continue
        where = f"{path}: line {number}"
        if len(cells) < 8:
            raise CorpusError(f"{where}: {len(cells)} cells; SPEAKER file 1 start length <NA> <NA> speaker")
        start, length = seconds(cells[3], where), seconds(cells[4], where)
        found.setdefault(cells[1], []).append(Turn(cells[7], start, round(start + length, 6)))
    return {name: sorted(turns, key=lambda turn: (turn.start, turn.end, turn.speaker)) for name, turns in found.items()}


def uem(path: Path) -> list[tuple[str, float, float]]:
    """Returns the scored regions of a UEM file: file, start, end."""
    found = []
    for number, line in enumerate(_read.lines(path), 1):
        cells = line.split()
        where = f"{path}: line {number}"
        if line.startswith(";"):
            continue
        if len(cells) != 4:
            raise CorpusError(f"{where}: {len(cells)} cells; file 1 start end")
        found.append((cells[0], seconds(cells[2], where), seconds(cells[3], where)))
    return found


def labels(turns: Sequence[Turn], start: float = 0.0, end: float | None = None) -> dict[str, str]:
    """Returns `turns` (JSON: [speaker, start, end], counted from `start`) and `speakers`, joined by ','."""
    inside = [
        (turn.speaker, round(max(turn.start, start) - start, 6), round(min(turn.end, end or turn.end) - start, 6))
        for turn in turns
        if turn.end > start and (end is None or turn.start < end)
    ]
    return {"turns": json.dumps(inside), "speakers": ",".join(sorted({turn[0] for turn in inside}))}


def seconds(text: str, where: str) -> float:
    """Returns a time, or says that it is none."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not isfinite(value) or value < 0:
        raise CorpusError(f"{where}: '{text}' is no time in seconds")
    return value
