"""eSpeak NG by `ctypes`: text to waveform with the times of words and phonemes, and text to phonemes.

The library remembers what it said before, so the same text sounds different the second time. What must be repeatable is
therefore spoken in one fixed order from a fresh process (`_store`).
"""

import ctypes
import ctypes.util
import importlib.util
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import soxr

from pegbox.audio import Wave
from pegbox.corpora.synthetic._vary import RATE
from pegbox.errors import CorpusError

MISSING: Final = (
    "synthetic speech needs eSpeak NG, which is not installed: pip install 'pegbox[demo]', or a system library "
    "(apt install libespeak-ng1, brew install espeak-ng). It is GPL-3.0 and therefore no part of Pegbox"
)


@dataclass(frozen=True)
class Voice:
    """How to speak: language, timbre ('' is the language's own), words a minute, pitch and its range (0 to 99)."""

    language: str = "en-us"
    variant: str = ""
    rate: int = 160
    pitch: int = 50
    range: int = 50

    @property
    def name(self) -> str:
        """eSpeak's own name of language and variant."""
        return f"{self.language}+{self.variant}" if self.variant else self.language


@dataclass(frozen=True)
class Spoken:
    """What was said: samples at 16 kHz, and where words and phonemes (IPA) begin and end, in seconds."""

    wave: Wave
    words: tuple[tuple[str, float, float], ...]
    phonemes: tuple[tuple[str, float, float], ...]


class Synthesizer:
    """One eSpeak NG, loaded and ready; there is one a process."""

    def __init__(self) -> None:
        self._library, data = _find()
        retrieval, all_of_it = 2, _PHONEME_EVENTS | _IPA | _NO_EXIT
        self._rate = self._library.espeak_Initialize(retrieval, 0, data, all_of_it)
        if self._rate <= 0:
            raise CorpusError(f"{MISSING}. (The library was found; its voices were not)")
        self._library.espeak_TextToPhonemes.restype = ctypes.c_char_p
        self._parts: list[Any] = []
        self._events: list[tuple[int, int, int, float, str]] = []
        self._callback = _CALLBACK(self._hear)  # kept: the library holds no reference of its own
        self._library.espeak_SetSynthCallback(self._callback)

    def say(self, text: str, voice: Voice) -> Spoken:
        """Returns the spoken text.

        Raises:
            CorpusError: the voice is unknown, or nothing was said.
        """
        self._choose(voice)
        for parameter, value in ((_SPEED, voice.rate), (_PITCH, voice.pitch), (_RANGE, voice.range)):
            self._library.espeak_SetParameter(parameter, value, 0)
        self._parts.clear()
        self._events.clear()
        encoded = text.encode()
        self._library.espeak_Synth(encoded, len(encoded) + 1, 0, 1, 0, _UTF8, None, None)
        if not self._parts:
            raise CorpusError(f"eSpeak NG says nothing for {text!r} in the voice {voice.name}")
        samples = np.concatenate(self._parts).astype(np.float32) / 32768
        length = len(samples) / self._rate
        starts = [(at, text[place - 1 : place - 1 + size]) for kind, place, size, at, _ in self._events if kind == 1]
        sounds = [(at, symbol) for kind, _, _, at, symbol in self._events if kind == 7]
        return Spoken(soxr.resample(samples, self._rate, RATE), _spans(starts, length), _spans(sounds, length))

    def phonemes(self, text: str, voice: Voice) -> tuple[str, ...]:
        """Returns the text in IPA, a symbol a phoneme, without stress marks."""
        self._choose(voice)
        left, found = ctypes.c_char_p(text.encode()), list[str]()
        while left.value is not None:
            clause = self._library.espeak_TextToPhonemes(ctypes.byref(left), _UTF8, 0x02 | (ord("_") << 8)) or b""
            found += clause.decode().replace(" ", "_").split("_")
        return tuple(symbol for raw in found if (symbol := bare(raw)))

    def _choose(self, voice: Voice) -> None:
        if self._library.espeak_SetVoiceByName(voice.name.encode()):
            raise CorpusError(f"eSpeak NG has no voice '{voice.name}'; see 'espeak-ng --voices' and '--voices=variant'")

    def _hear(self, samples: Any, count: int, events: Any) -> int:
        if samples and count:
            self._parts.append(np.ctypeslib.as_array(samples, (count,)).copy())
        number = 0
        while events[number].type:
            event = events[number]
            symbol = event.id.string.decode("utf-8", "ignore") if event.type == 7 else ""
            self._events.append((event.type, event.text_position, event.length, event.sample / self._rate, symbol))
            number += 1
        return 0


def available() -> bool:
    """Whether a library is at hand, without loading it."""
    return bool(importlib.util.find_spec("espeakng_loader") or ctypes.util.find_library("espeak-ng"))


def bare(symbol: str) -> str:
    """Returns a phoneme without stress, tie and language-switch marks."""
    return "" if symbol.startswith("(") else symbol.strip("ˈˌ\u200d ")


def _find() -> tuple[Any, bytes | None]:
    try:
        import espeakng_loader
    except ImportError:
        system = ctypes.util.find_library("espeak-ng")
        if system is None:
            raise CorpusError(MISSING) from None
        return ctypes.CDLL(system), None
    return ctypes.CDLL(espeakng_loader.get_library_path()), espeakng_loader.get_data_path().encode()


def _spans(starts: list[tuple[float, str]], length: float) -> tuple[tuple[str, float, float], ...]:
    ends = [at for at, _ in starts[1:]] + [length]
    return tuple((what, at, end) for (at, what), end in zip(starts, ends, strict=True) if bare(what))


_PHONEME_EVENTS, _IPA, _NO_EXIT = 1, 2, 0x8000
_UTF8: Final = 1
_SPEED, _PITCH, _RANGE = 1, 3, 4


class _Symbol(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user", ctypes.c_void_p),
        ("id", _Symbol),
    )


_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))
