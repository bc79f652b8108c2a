"""How near the times lie that a synthesis network's own speech tells: on clips of a voice that it has never heard.

`python benchmarks/alignment.py` prints the table of docs/synthesis.md: the test clips of `synthetic_voice`, whose true
times are known, as they are, between silences, and in noise.
"""

import json
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np
import soundfile

from pegbox import audio, backbones, corpora
from pegbox.rows import Row, seconds
from pegbox.tasks import build
from pegbox.training.aligned import aligned

RATE: Final = 16_000
KINDS: Final = {
    "as they are": (0.0, None),
    "0.3 s of silence around them": (0.3, None),
    "and noise, 20 dB below": (0.3, 20.0),
}


def main() -> None:
    """Prints the table."""
    speaker = backbones.load_speaker("tiny_voice")
    rows = [row for row in corpora.build('synthetic_voice(timbre="Andrea")').rows() if row.split == "test"]
    print("| clips | borders | mean error, ms | median | 95 % | largest | mean where units last alike |")
    print("|" + " --- |" * 7)
    for name, (pad, ratio) in KINDS.items():
        with TemporaryDirectory() as place:
            made = [_made(row, Path(place), pad, ratio) for row in rows]
            found = aligned(made, speaker, build("synthesize(align=True)"), place)
        wrong = 1000 * np.abs(
            np.concatenate(list(map(_starts, found))) - pad - np.concatenate(list(map(_starts, rows)))
        )
        even = 1000 * np.concatenate([np.abs(_even(row) - _starts(row)) for row in rows])
        numbers = (wrong.mean(), np.median(wrong), np.quantile(wrong, 0.95), wrong.max(), even.mean())
        print(f"| {name} | {len(wrong)} | " + " | ".join(f"{number:.1f}" for number in numbers) + " |", flush=True)


def _made(row: Row, place: Path, pad: float, ratio: float | None) -> Row:
    """Returns a row with its text alone, and its sound between silences and in noise."""
    wave = np.pad(audio.read(row.audio, RATE), round(pad * RATE))
    if ratio is not None:
        loud = np.sqrt(np.square(wave).mean() / 10 ** (ratio / 10))
        wave = wave + loud * np.random.default_rng(0).standard_normal(len(wave))
    soundfile.write(place / f"{row.id}.wav", wave, RATE)
    return replace(row, audio=str(place / f"{row.id}.wav"), labels={"transcript": row.labels["transcript"]})


def _starts(row: Row) -> np.ndarray:  # (units,)
    return np.array([start for _, start, _ in json.loads(row.labels["times"])])


def _even(row: Row) -> np.ndarray:  # (units,)
    return np.arange(len(_starts(row))) / len(_starts(row)) * seconds(row)


if __name__ == "__main__":
    main()
