"""Audio files as mono float32 at a wanted rate, by `soundfile` and `soxr`."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr

from pegbox.errors import CorpusError

Wave = np.ndarray[tuple[int], np.dtype[np.float32]]


@dataclass(frozen=True)
class Info:
    """What a file's header says."""

    seconds: float
    rate: int
    frames: int
    channels: int


def read(path: str | Path, rate: int, start: float = 0.0, end: float | None = None) -> Wave:
    """Returns the part from `start` to `end` seconds, channels averaged, resampled to `rate` Hz.

    Raises:
        CorpusError: when the file is missing, unreadable, truncated, empty, not finite, or the times lie outside.
    """
    with _opened(path) as file:
        first, last = _span(path, file, start, end)
        file.seek(first)
        samples = file.read(last - first, dtype="float32", always_2d=True)
        own_rate = file.samplerate
    if len(samples) < last - first:
        promised, found = (last - first) / own_rate, len(samples) / own_rate
        raise CorpusError(
            f"{path}: truncated: {found:.2f} s of the promised {promised:.2f} s can be read; fetch it again"
        )
    mono = samples.mean(axis=1)
    if not np.isfinite(mono).all():
        raise CorpusError(
            f"{path}: {int((~np.isfinite(mono)).sum())} samples are not finite numbers; repair or drop it"
        )
    if own_rate != rate:
        mono = soxr.resample(mono, own_rate, rate)
    return np.ascontiguousarray(mono, dtype=np.float32)


@lru_cache(maxsize=1_000_000)
def info(path: str | Path) -> Info:
    """Returns what the header says, or a CorpusError when there is nothing to play."""
    with _opened(path) as file:
        _check_length(path, file)
        if file.frames == 0:
            raise CorpusError(f"{path}: zero-length audio; drop it")
        return Info(file.frames / file.samplerate, file.samplerate, file.frames, file.channels)


def digest(path: str | Path) -> str:
    """Returns the identity of a file's bytes."""
    try:
        return blake2b(Path(path).read_bytes(), digest_size=16).hexdigest()
    except OSError as problem:
        raise CorpusError(f"{path}: cannot be read ({problem.strerror})") from None


@contextmanager
def _opened(path: str | Path) -> Iterator[Any]:
    if not Path(path).is_file():
        raise CorpusError(f"{path}: no such audio file")
    try:
        with soundfile.SoundFile(str(path)) as file:
            yield file
    except (soundfile.LibsndfileError, OSError) as problem:
        reason = getattr(problem, "error_string", problem)
        raise CorpusError(f"{path}: not readable audio ({reason}); fetch it again or drop it") from None


def _span(path: str | Path, file: Any, start: float, end: float | None) -> tuple[int, int]:
    _check_length(path, file)
    first = round(start * file.samplerate)
    last = file.frames if end is None else round(end * file.samplerate)
    if file.frames == 0:
        raise CorpusError(f"{path}: zero-length audio; drop it")
    if not 0 <= first < last <= file.frames:
        length = file.frames / file.samplerate
        raise CorpusError(f"{path}: no part from {start} to {end} s in a file of {length:.3f} s; correct the times")
    return first, last


def _check_length(path: str | Path, file: Any) -> None:
    """libsndfile silently shortens a cut WAV; its data chunk still says how long the file should be."""
    if file.format != "WAV":
        return
    promised = _wav_data_bytes(Path(path))
    held = file.frames * file.channels * _BYTES.get(file.subtype, 0)
    if held and promised is not None and promised > held:
        raise CorpusError(
            f"{path}: truncated: the header promises {promised} bytes of sound, the file holds {held}; fetch it again"
        )


_BYTES = {"PCM_U8": 1, "PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8}
_STREAMED = {0, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF}  # sizes that a writer to a pipe leaves behind


def _wav_data_bytes(path: Path) -> int | None:
    with path.open("rb") as file:
        head = file.read(12)
        while head[:4] == b"RIFF" and len(chunk := file.read(8)) == 8:
            size = int.from_bytes(chunk[4:], "little")
            if chunk[:4] == b"data":
                return None if size in _STREAMED else size
            file.seek(size + size % 2, 1)
    return None
