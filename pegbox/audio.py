"""Audio files as mono float32 at a wanted rate, by `soundfile` and `soxr`."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from math import isfinite
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal

import numpy as np
import soundfile
import soxr

from pegbox import places
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
    wave = mono if own_rate == rate else soxr.resample(mono, own_rate, rate)
    if not len(wave):
        raise CorpusError(f"{path}: {len(mono)} samples at {own_rate} Hz are none at {rate} Hz; drop it or take more")
    return np.ascontiguousarray(wave, dtype=np.float32)


@lru_cache(maxsize=1_000_000)
def info(path: str | Path) -> Info:
    """Returns what the header says, or a CorpusError when there is nothing to play."""
    with _opened(path) as file:
        return Info(file.frames / file.samplerate, file.samplerate, file.frames, file.channels)


def digest(path: str | Path) -> str:
    """Returns the identity of a file's bytes."""
    try:
        return places.digest(Path(path))
    except (OSError, ValueError) as problem:  # ValueError: a name with a null byte
        raise CorpusError(f"{path}: cannot be read ({problem}); correct the path") from None


@contextmanager
def _opened(path: str | Path) -> Iterator[Any]:
    try:
        if not Path(path).is_file():
            what = "a folder, not an audio file" if Path(path).is_dir() else "no such audio file"
            raise CorpusError(f"{path}: {what}; correct the path")
        with soundfile.SoundFile(str(path)) as file:
            _check_length(path, file)
            yield file
    except (soundfile.LibsndfileError, OSError) as problem:
        reason = getattr(problem, "error_string", problem)
        raise CorpusError(f"{path}: not readable audio, or truncated ({reason}); fetch it again or drop it") from None


def _span(path: str | Path, file: Any, start: float, end: float | None) -> tuple[int, int]:
    length = file.frames / file.samplerate
    finite = isfinite(start) and (end is None or isfinite(end))
    first = round(start * file.samplerate) if finite else -1
    last = file.frames if end is None or not finite else round(end * file.samplerate)
    if not 0 <= first < last <= file.frames:
        raise CorpusError(f"{path}: no part from {start} to {end} s in a file of {length:.3f} s; correct the times")
    return first, last


def _check_length(path: str | Path, file: Any) -> None:
    """Refuses what cannot be whole: libsndfile silently shortens a file that was cut."""
    if file.format in ("WAV", "WAVEX"):
        whole = _is_whole_wav(Path(path))
    elif file.format == "OGG":
        whole = _is_whole_ogg(Path(path))
    else:
        whole = all(int(found) >= int(promised) for promised, found in _SHORTENED.findall(file.extra_info))
    if not whole:
        raise CorpusError(f"{path}: truncated: the file ends before its sound does; fetch it again or drop it")
    if file.frames >= _UNKNOWN:
        raise CorpusError(f"{path}: its header does not say how long it is; write it again, not through a pipe")
    if file.frames == 0:
        raise CorpusError(f"{path}: zero-length audio; drop it")


_UNKNOWN: Final = 2**62  # frames of a FLAC that was written to a pipe
_STREAMED: Final = {0, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF}  # sizes that a writer to a pipe leaves behind
_ORDERS: Final[Mapping[bytes, Literal["little", "big"]]] = MappingProxyType({b"RIFF": "little", b"RIFX": "big"})
_SHORTENED: Final = re.compile(r"(?:data|SSND|Data Size|Riff size|riff)\s*: (\d+) \(should be (\d+)\)")


def _is_whole_wav(path: Path) -> bool:
    """Whether the promised bytes of sound are there; libsndfile's own log is too short to tell."""
    with path.open("rb") as file:
        order = _ORDERS.get(file.read(12)[:4], "little")
        while len(chunk := file.read(8)) == 8:
            size = int.from_bytes(chunk[4:], order)
            if chunk[:4] == b"data":
                return size in _STREAMED or file.tell() + size <= path.stat().st_size
            file.seek(size + size % 2, 1)
    return True


def _is_whole_ogg(path: Path) -> bool:
    """Whether the last page is the end of a stream (RFC 3533) and whole."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 2 * _LONGEST_PAGE))
        tail = file.read()
    page = tail[max(0, tail.rfind(b"OggS")) :]
    count = page[26] if len(page) > 26 else 255
    return bool(page[5:6] and page[5] & 4) and len(page) >= 27 + count + sum(page[27 : 27 + count])


_LONGEST_PAGE: Final = 27 + 255 + 255 * 255
