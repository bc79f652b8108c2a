"""Clips without their silent parts, cut where SoX's `silence` cuts; copies are kept among what can be made again."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Final

import numpy as np
import soundfile

from pegbox import audio
from pegbox.audio import Wave
from pegbox.errors import CorpusError
from pegbox.rows import Row, wave

_WINDOW: Final = 50  # of which so many are a second
_LEAST: Final = 0.1  # seconds of sound that begin a part, or of silence that end it
_SHOWN: Final = 3


def spans(sound: Wave, rate: int, percent: float) -> list[tuple[int, int]]:
    """Returns first and last sample, exclusive, of the parts that `silence 1 0.1 P% -1 0.1 P%` of SoX leaves.

    A sample is loud if the root mean square of the 20 ms before it is above `percent` of full scale. A part begins with
    0.1 s of loud samples and ends with 0.1 s of others, with which measuring begins anew.
    """
    window, least, total = rate // _WINDOW, round(rate * _LEAST), len(sound)
    energy = np.concatenate([[0.0], np.cumsum(np.square(sound, dtype=np.float64))])

    def loud(first: int, last: int, since: int) -> bytes:
        place = np.arange(first, last) + 1
        found = energy[place] - energy[np.maximum(place - window, since)]
        return bytes((found > (percent / 100) ** 2 * window).astype(np.uint8))

    heard, found, begin = bytearray(loud(0, total, 0)), list[tuple[int, int]](), 0
    while True:
        until = min(begin + window, total)
        heard[begin:until] = loud(begin, until, begin)
        first = heard.find(b"\1" * least, begin)
        if first < 0:
            return found
        last = heard.find(b"\0" * least, first + least)
        found.append((first, total if last < 0 else last))
        if last < 0:
            return found
        begin = last + least


def cut(rows: Sequence[Row], percent: float, folder: Path) -> list[Row]:
    """Returns the rows with copies in `folder`, made where they are missing, that lack what `spans` leaves out.

    Sound is judged as loud as the rows say, and copied as it is.

    Raises:
        CorpusError: nothing is left of a clip, or the folder cannot be written to.
    """
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            each = pool.map(partial(_copy, percent=percent, folder=folder), rows)
            told = track(each, "silence", len(rows), console=console, transient=True, disable=not console.is_terminal)
            copies = list(told)
    except OSError as problem:
        raise CorpusError(f"{folder}: cannot write here ({problem.strerror}); give cache.folder another one") from None
    silent = [row.id for row, copy in zip(rows, copies, strict=True) if copy is None]
    if silent:
        shown = ", ".join(silent[:_SHOWN]) + (", …" if len(silent) > _SHOWN else "")
        raise CorpusError(
            f"{len(silent)} clips have no 0.1 s louder than silence={percent:g} % ({shown}); drop them or lower it"
        )
    found = zip(rows, copies, strict=True)
    return [replace(row, audio=str(copy), start=0.0, end=None) for row, copy in found]


def _copy(row: Row, percent: float, folder: Path) -> Path | None:
    rate = audio.info(row.audio).rate
    place = folder / f"{_identity(row, percent)}.flac"
    if place.exists():
        return place
    parts = spans(wave(row, rate), rate, percent)
    if not parts:
        return None
    whole = audio.read(row.audio, rate, row.start, row.end)
    part = place.with_suffix(f".{os.getpid()}.part")
    soundfile.write(part, np.concatenate([whole[slice(*each)] for each in parts]), rate, "PCM_24", format="FLAC")
    part.replace(place)
    return place


def _identity(row: Row, percent: float) -> str:
    file = Path(row.audio).stat()
    told = (str(Path(row.audio).resolve()), file.st_size, file.st_mtime_ns, row.start, row.end, row.gain, percent)
    return blake2b(repr(told).encode(), digest_size=16).hexdigest()
