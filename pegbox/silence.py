"""Clips without their silent parts, cut where SoX's `silence` cuts; copies are kept among what can be made again."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Final
from uuid import uuid4

import numpy as np
import soundfile
from filelock import FileLock

from pegbox import audio
from pegbox.audio import Wave
from pegbox.errors import CorpusError
from pegbox.places import room
from pegbox.rows import Row, seconds, wave

_WINDOW: Final = 50  # of which so many are a second
_LEAST: Final = 0.1  # seconds of sound that begin a part, or of silence that end it
_STEPS: Final = 1 << 15  # from silence to full scale in 16 bits
_FORM: Final = 1  # of the copies: another one where this file cuts otherwise
_SHOWN: Final = 3


def spans(sound: Wave, rate: int, percent: float) -> list[tuple[int, int]]:
    """Returns first and last sample, exclusive, of the parts that `silence 1 0.1 P% -1 0.1 P%` of SoX leaves.

    A sample is loud if the root mean square of the 20 ms before it is above `percent` of full scale. A part begins with
    0.1 s of loud samples and ends with 0.1 s of others, with which measuring begins anew.
    """
    window, least = max(1, rate // _WINDOW), max(1, round(rate * _LEAST))
    energy = np.concatenate([[0.0], np.cumsum(np.square(sound, dtype=np.float64))])
    limit = (percent / 100) ** 2 * window
    heard = bytearray((energy[1:] - energy[np.maximum(np.arange(1, len(energy)) - window, 0)] > limit).tobytes())
    found, begin = list[tuple[int, int]](), 0
    while True:
        anew = energy[begin + 1 : begin + 1 + window] - energy[begin]
        heard[begin : begin + len(anew)] = (anew > limit).tobytes()
        first = heard.find(b"\1" * least, begin)
        if first < 0:
            return found
        last = heard.find(b"\0" * least, first + least)
        found.append((first, len(sound) if last < 0 else last))
        if last < 0:
            return found
        begin = last + least


def audible(row: Row, percent: float) -> bool:
    """Returns whether anything is left of a clip."""
    rate = audio.info(row.audio).rate
    return bool(spans(wave(row, rate), rate, percent))


def cut(rows: Sequence[Row], percent: float, folder: Path) -> list[Row]:
    """Returns the rows with copies in `folder`, made where they are missing, that lack what `spans` leaves out.

    Sound is judged as loud as the rows say, and copied as it is. Of several processes one makes the copies.

    Raises:
        CorpusError: nothing is left of a clip, the disk lacks room, or the folder cannot be written to.
    """
    names = [_name(row, percent) for row in rows]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):
            missing = {name: row for name, row in zip(names, rows, strict=True) if not (folder / name).exists()}
            _refuse_full(folder, list(missing.values()))
            _make(missing, percent, folder)
    except (OSError, soundfile.LibsndfileError) as problem:
        raise CorpusError(f"{folder}: cannot write here ({problem}); give cache.folder another one") from None
    silent = [row.id for row, name in zip(rows, names, strict=True) if not (folder / name).exists()]
    if silent:
        shown = ", ".join(silent[:_SHOWN]) + (", …" if len(silent) > _SHOWN else "")
        raise CorpusError(
            f"{len(silent)} clips have no 0.1 s louder than silence={percent:g} % ({shown}); drop them or lower it"
        )
    return [_copied(row, folder / name) for row, name in zip(rows, names, strict=True)]


def _make(missing: dict[str, Row], percent: float, folder: Path) -> None:
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        done = pool.map(partial(_copy, percent=percent, folder=folder), missing.items())
        for _ in track(done, "silence", len(missing), console=console, transient=True, disable=not console.is_terminal):
            pass


def _copy(item: tuple[str, Row], percent: float, folder: Path) -> None:
    """Writes one clip, unless nothing is left: in 16 bits where they hold it exactly, else as it is in memory."""
    name, row = item
    rate = audio.info(row.audio).rate
    parts = spans(wave(row, rate), rate, percent)
    if not parts:
        return
    whole = audio.read(row.audio, rate, row.start, row.end)
    sound = np.concatenate([whole[slice(*each)] for each in parts])
    exact = np.array_equal(np.rint(sound * _STEPS), sound * _STEPS) and sound.min() >= -1 and sound.max() < 1
    part = folder / f"{uuid4().hex}.part"
    try:
        soundfile.write(part, sound, rate, "PCM_16" if exact else "FLOAT", format="WAV")
        part.replace(folder / name)
    finally:
        part.unlink(missing_ok=True)


def _copied(row: Row, place: Path) -> Row:
    return replace(row, audio=str(place), start=0.0, end=audio.info(str(place)).seconds)


def _refuse_full(folder: Path, rows: Sequence[Row]) -> None:
    need = sum(4 * seconds(row) * audio.info(row.audio).rate for row in rows)
    free = room(folder)
    if need > free:
        raise CorpusError(
            f"{folder}: clips without silence take up to {need / 1e9:.2f} GB, and {free / 1e9:.2f} GB are free; make "
            "room or give cache.folder another one"
        )


def _name(row: Row, percent: float) -> str:
    try:
        file = Path(row.audio).stat()
    except OSError as problem:
        raise CorpusError(f"{row.audio}: cannot be read ({problem.strerror}); correct the path") from None
    told = (_FORM, os.path.realpath(row.audio), file.st_size, file.st_mtime_ns, row.start, row.end, row.gain, percent)
    return f"{blake2b(repr(told).encode(), digest_size=16).hexdigest()}.wav"
