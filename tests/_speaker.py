"""A tiny synthesis network with random weights, and clips of two tones with the times of their units."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import soundfile
import torch
from transformers import FastSpeech2ConformerConfig, FastSpeech2ConformerModel

SYMBOLS = ["_", "a", "b"]
PITCHES = {"a": 120.0, "b": 220.0}
RATE = 16_000
SETTINGS = {
    "sampling_rate": RATE,
    "symbols": SYMBOLS,
    "language": "en-us",
    "analysis": {"rate": RATE, "window": 512, "hop": 256, "bands": 20, "floor": 1e-3},
    "mel": [[-4.0] * 20, [2.0] * 20],
    "pitch": [5.0, 0.3],
    "energy": [0.0, 2.0],
}


def save_speaker(folder: Path) -> Path:
    """Returns the folder of a checkpoint that speaks three symbols in two voices."""
    torch.manual_seed(0)
    small = {"speech_decoder_postnet_units": 8, "speech_decoder_postnet_layers": 2, "positionwise_conv_kernel_size": 1}
    predictors = {f"{name}_predictor_channels": 8 for name in ("duration", "pitch", "energy")}
    config = FastSpeech2ConformerConfig(
        hidden_size=32,
        vocab_size=len(SYMBOLS) + 1,
        num_mel_bins=20,
        num_speakers=2,
        encoder_layers=1,
        decoder_layers=1,
        encoder_linear_units=16,
        decoder_linear_units=16,
        encoder_normalize_before=True,
        decoder_normalize_before=True,
        **small,
        **predictors,
    )
    model = FastSpeech2ConformerModel(config)
    with torch.no_grad():
        model.duration_predictor.linear.bias.fill_(1.8)  # some five frames a unit, so that there is something to hear
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(SETTINGS))
    return folder


def save_units(folder: Path, count: int = 12) -> Path:
    """Returns the manifest of clips that say drawn units, each a tone of its own, with a pause before them."""
    folder.mkdir(parents=True, exist_ok=True)
    draw, found = np.random.default_rng(0), []
    for number in range(count):
        units = draw.choice(["a", "b"], 4).tolist()
        ends = 0.1 + np.cumsum(draw.uniform(0.06, 0.15, 4))
        moments = [0.1, *(round(float(end), 3) for end in ends)]
        times = list(zip(units, moments, moments[1:], strict=False))
        clock = np.arange(int(ends[-1] * RATE)) / RATE
        wave = np.zeros(len(clock))
        for unit, start, end in times:
            inside = (clock >= start) & (clock < end)
            wave += inside * sum(0.05 * np.sin(2 * np.pi * PITCHES[unit] * n * clock) for n in range(1, 8))
        soundfile.write(folder / f"{number}.wav", wave, RATE)
        labels = {"phonemes": " ".join(units), "times": json.dumps(times)}
        found.append({"path": f"{number}.wav", "split": split_of(number, count), **labels})
    return save_lines(folder, found)


def split_of(number: int, count: int) -> str:
    """Returns the split of one of so many clips: the last two are tested, the two before them validate."""
    return "train" if number < count - 4 else "valid" if number < count - 2 else "test"


def save_lines(folder: Path, lines: Sequence[Mapping[str, str]]) -> Path:
    """Returns the manifest of clips in a folder, a line each."""
    (folder / "manifest.jsonl").write_text("".join(json.dumps(each) + "\n" for each in lines))
    return folder / "manifest.jsonl"
