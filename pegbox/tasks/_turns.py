"""Turns of speakers: frames to turns and back, RTTM, and the diarization error rate."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from pyannote.core import Annotation, Segment, Timeline
from pyannote.metrics.diarization import DiarizationErrorRate

from pegbox.errors import CorpusError

Turn = tuple[str, float, float]  # who, from, to in seconds
Array = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


def read(text: str) -> list[Turn]:
    """Returns turns of JSON, by time, or says what is wrong with them."""
    try:
        turns = sorted(((str(who), float(start), float(end)) for who, start, end in json.loads(text)), key=_times)
    except (ValueError, TypeError):
        raise CorpusError(f'{text[:80]!r} is no list of turns; write [["who", start, end], …] in seconds') from None
    wrong = [turn for turn in turns if not 0 <= turn[1] < turn[2] < math.inf]
    if wrong:
        raise CorpusError(f"{len(wrong)} turns do not end after they start, or start before 0: {wrong[:4]}")
    return turns


def write(turns: Iterable[Turn]) -> str:
    """Returns turns as JSON, by time."""
    return json.dumps([list(turn) for turn in sorted(turns, key=_times)], ensure_ascii=False)


def rttm(predictions: Sequence[Mapping[str, Any]], column: Literal["said", "true"] = "said") -> str:
    """Returns plain rows as NIST's rich transcription time marks; whitespace in ids and names becomes '_'."""
    lines = [
        f"SPEAKER {_word(row['id'])} 1 {start:.3f} {end - start:.3f} <NA> <NA> {_word(who)} <NA> <NA>\n"
        for row in predictions
        for who, start, end in read(row[column])
    ]
    return "".join(lines)


def frames(turns: Sequence[Turn], count: int, period: float, speakers: int, rounded: bool = False) -> Array:
    """Returns who speaks in which frame, (frames, speakers), speakers by name: in half a frame at least.

    `rounded` puts both ends of a turn at the nearest frame, as the reference does.
    """
    active = np.zeros((count, speakers))
    edges = np.arange(count) * period
    for column, who in enumerate(sorted({turn[0] for turn in turns})):
        for _, start, end in (turn for turn in turns if turn[0] == who):
            if rounded:
                active[int(np.rint(start / period)) : int(np.rint(end / period)), column] = period
            else:
                shared = np.minimum(edges + period, end) - np.maximum(edges, start)
                active[:, column] += shared.clip(min=0.0)
    return (active >= period / 2 - 1e-9).astype(np.float64)


def spoken(chances: Array, threshold: float, median: int, period: float, digits: int) -> list[Turn]:
    """Returns the turns of chances (frames, speakers) above a threshold, evened out by a median over frames."""
    active = chances > threshold
    if median > 1:
        padded = np.pad(active, ((median // 2, median // 2), (0, 0)))
        active = np.lib.stride_tricks.sliding_window_view(padded, median, 0).mean(-1) > 0.5
    turns = []
    for column in range(active.shape[1]):
        changes = np.flatnonzero(np.diff(np.pad(active[:, column].astype(int), 1)))
        for start, end in changes.reshape(-1, 2).tolist():
            turns.append((str(column + 1), round(start * period, digits), round(end * period, digits)))
    return turns


def error_rates(pairs: Sequence[tuple[Sequence[Turn], Sequence[Turn]]]) -> dict[str, float]:
    """Returns DER and its parts over (true, said) turns: no collar, overlaps scored, from the first to the last turn.

    Where nobody should have spoken the rates are not numbers.
    """
    rate = DiarizationErrorRate(collar=0.0, skip_overlap=False)
    for true, said in pairs:
        if true or said:
            hull = Segment(min(turn[1] for turn in (*true, *said)), max(turn[2] for turn in (*true, *said)))
            rate(_annotation(true), _annotation(said), uem=Timeline([hull]))
    parts = {"missed": "missed detection", "false_alarm": "false alarm", "confusion": "confusion"}
    total = rate["total"] if pairs else 0.0
    found = {name: float(rate[part] / total) if total else math.nan for name, part in parts.items()}
    return {"der": sum(found.values()), **found}


def _annotation(turns: Sequence[Turn]) -> Any:
    found = Annotation()
    for number, (who, start, end) in enumerate(turns):
        found[Segment(start, end), number] = who
    return found.support()


def _times(turn: Turn) -> tuple[float, float, str]:
    return turn[1], turn[2], turn[0]


def _word(text: str) -> str:
    return "_".join(text.split()) or "_"
