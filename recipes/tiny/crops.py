"""The audio that the `tiny` encoder learns from: synthetic speech of many languages, and real clips, both varied.

Test splits, two speakers of the digits, and fold 5 of ESC-10 (its test split) never enter.
"""

import csv
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Final

import numpy as np
from numpy.random import Generator

from pegbox import audio
from pegbox.corpora.synthetic import _vary
from pegbox.corpora.synthetic._espeak import RATE, Synthesizer, Voice

UNSEEN: Final = {"lucas", "yweweler"}
BUCKETS: Final = {8_000: 0.15, 16_000: 0.15, 24_000: 0.50, 48_000: 0.20}  # samples a crop: share of the hours
REAL: Final = {"fsdd": 0.3, "speech_commands": 0.2, "librispeech_asr": 0.2, "librispeech_spk": 0.1, "esc10": 0.2}
ENGLISH: Final = ("en-us", "en", "en-gb-scotland", "en-gb-x-rp", "en-029", "en-gb-x-gbclan", "en-gb-x-gbcwmd")
OTHERS: Final = (
    *("de", "fr", "es", "it", "pt-br", "pl", "ru", "tr", "cmn", "hi", "sw", "fi", "nl", "sv", "el", "hu", "id", "ja"),
)
VARIANTS: Final = (
    *("", "f1", "f2", "f3", "f4", "f5", "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "Alex", "Alicia", "Andrea"),
    *("Andy", "Annie", "Denis", "Gene", "Hugo", "Jacky", "Lee", "Marco", "Mario", "Michael", "Mike", "adam", "anika"),
    *("antonio", "aunty", "belinda", "benjamin", "boris", "caleb", "david", "ed", "edward", "gustave", "ian", "iven"),
    *("john", "klatt2", "klatt4", "linda", "max", "michel", "miguel", "norbert", "pablo", "paul", "pedro", "quincy"),
    *("rob", "robert", "sandro", "shelby", "steph", "travis", "victor", "zac"),
)
DIGITS: Final = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
WORDS: Final = (Path(__file__).parent / "words.txt").read_text(encoding="utf-8").split()
_ONSETS, _VOWELS = ("b d f g h j k l m n p r s t v w z ch sh th", "a e i o u ai ou")
SYLLABLES: Final = [onset + vowel for onset in _ONSETS.split() for vowel in _VOWELS.split()]


@dataclass(frozen=True)
class Source:
    """What crops are drawn from."""

    real: Mapping[str, Sequence[audio.Wave]]
    words: Sequence[str]


def make(shared: Path, out: Path, hours: float, seed: int, workers: int = 2) -> None:
    """Writes one int16 array `crops-<samples>.npy` a bucket, each (crops, samples)."""
    out.mkdir(parents=True, exist_ok=True)
    for size, share in BUCKETS.items():
        count = int(hours * 3600 * share * RATE / size / workers)
        jobs = [(shared, size, count, seed * 1000 + worker) for worker in range(workers)]
        with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
            np.save(out / f"crops-{size}.npy", np.concatenate(list(pool.map(_some, jobs))))


def read(shared: Path) -> Source:
    """Returns the real clips that may be learnt from, at 16 kHz, and the words of their transcripts."""
    folder = shared / "data" / "real"
    real, words = defaultdict(list), list(WORDS)
    with (folder / "manifest.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["split"] == "test" or row["speaker"] in UNSEEN or row["corpus"] not in REAL:
                continue
            real[row["corpus"]].append(audio.read(folder / row["path"], RATE))
            words += row["transcript"].lower().split()
    return Source(real, words)


def _some(job: tuple[Path, int, int, int]) -> np.ndarray:
    shared, size, count, seed = job
    draw, source, speech = np.random.default_rng(seed), read(shared), Synthesizer()
    crops = np.empty((count, size), np.int16)
    for number in range(count):
        wave = _spoken(draw, source, speech, size) if draw.random() < 0.57 else _real(draw, source, size)
        crops[number] = np.clip(wave * 32767, -32768, 32767)
    return crops


def _spoken(draw: Generator, source: Source, speech: Synthesizer, size: int) -> audio.Wave:
    language = str(draw.choice(ENGLISH if draw.random() < 0.8 else OTHERS))
    variant, rate = str(draw.choice(VARIANTS)), int(draw.integers(110, 240))
    voice = Voice(language, variant, rate, int(draw.integers(5, 96)), int(draw.integers(10, 100)))
    found = np.zeros(0, np.float32)
    while len(found) < size * draw.uniform(0.5, 1.0):
        found = np.concatenate([found, speech.say(_text(draw, source, size), voice).wave, _gap(draw)])
    return _varied(draw, source, _fit(draw, found, size))


def _text(draw: Generator, source: Source, size: int) -> str:
    count = int(draw.integers(1, 2 + size // 8_000))
    match int(draw.integers(10)):
        case 0 | 1 | 2:
            return " ".join(draw.choice(DIGITS, count))
        case 3:
            return " ".join(str(draw.integers(10 ** int(draw.integers(1, 5)))) for _ in range(count))
        case 4:
            return " ".join("".join(draw.choice(SYLLABLES, int(draw.integers(1, 4)))) for _ in range(count))
        case 5 | 6:
            return " ".join(draw.choice(WORDS, count))
        case _:
            start = int(draw.integers(len(source.words)))
            return " ".join(source.words[start : start + count + 1])


def _real(draw: Generator, source: Source, size: int) -> audio.Wave:
    kind = str(draw.choice(list(REAL), p=list(REAL.values())))
    clips, found = source.real[kind], np.zeros(0, np.float32)
    while len(found) < size * draw.uniform(0.4, 1.0):
        clip = _vary.change_speed(clips[int(draw.integers(len(clips)))], draw.uniform(0.85, 1.18))
        found = np.concatenate([found, clip, _gap(draw)])
    found = _fit(draw, found, size)
    if kind == "esc10" and draw.random() < 0.8:
        found = _vary.low_pass(found, draw.uniform(2_000, 8_000)) if draw.random() < 0.2 else found
        return found * draw.uniform(0.3, 1.0)
    return _varied(draw, source, found)


def _varied(draw: Generator, source: Source, wave: audio.Wave) -> audio.Wave:
    if draw.random() < 0.3:
        wave = _vary.reverberate(wave, draw, draw.uniform(0.1, 0.6))
    if draw.random() < 0.4:
        wave = _vary.low_pass(wave, draw.uniform(2_500, 7_500))
    if draw.random() < 0.75:
        if draw.random() < 0.4:
            clips = source.real["esc10"]
            noise = clips[int(draw.integers(len(clips)))]
        else:
            noise = _vary.coloured(len(wave), draw.uniform(0.0, 2.0), draw)
        wave = _vary.mix(wave, noise, draw.uniform(0, 40))
    wave = wave / max(1e-4, float(np.abs(wave).max()))
    return (wave * draw.uniform(0.1, 1.0)).astype(np.float32)


def _gap(draw: Generator) -> audio.Wave:
    return np.zeros(int(draw.integers(0, RATE // 3)), np.float32)


def _fit(draw: Generator, wave: audio.Wave, size: int) -> audio.Wave:
    """Returns a random cut of a longer sound, or a shorter one at a random place in silence."""
    if len(wave) >= size:
        start = int(draw.integers(len(wave) - size + 1))
        return wave[start : start + size]
    before = int(draw.integers(size - len(wave) + 1))
    return np.pad(wave, (before, size - len(wave) - before))
