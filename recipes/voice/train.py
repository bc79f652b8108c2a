"""Trains the small synthesis network: `python recipes/voice/train.py --out DIR`.

FastSpeech 2 with Conformer blocks on six voices of eSpeak NG, with eSpeak's own durations. Goes on from the last
checkpoint in DIR; `--export FOLDER` writes the checkpoint in half precision, as Pegbox loads it, and prints for each
voice the mel-cepstral distortion of sentences that it has not learnt, of Mel frames, warped (docs/synthesis.md).
"""

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import asdict
from math import cos, pi
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn
from transformers import FastSpeech2ConformerConfig, FastSpeech2ConformerModel

from pegbox.backbones import load_speaker
from pegbox.corpora.synthetic import _text
from pegbox.corpora.synthetic._espeak import Spoken, Synthesizer, Voice, bare
from pegbox.mel import Analysis, cepstra
from pegbox.tasks._speech_scores import warped
from pegbox.training.script import PAUSE, Line, Raw, Script, paused, raw, scaled, script_of, told

VOICES: Final = ("m3", "f4", "m7", "Alex", "Annie", "Denis")
LANGUAGE: Final = "en-us"
WORDS: Final = Path(__file__).parent.parent / "tiny" / "words.txt"
ANALYSIS: Final = Analysis()
CLIPS: Final = 12  # a step
NEW: Final = 10  # sentences that judge it
PEAK: Final = 2e-3


def network(symbols: int) -> FastSpeech2ConformerModel:
    """Returns the untrained network: 1.2 million numbers."""
    off = ("encoder_dropout_rate", "encoder_positional_dropout_rate", "encoder_attention_dropout_rate")
    off += ("decoder_dropout_rate", "decoder_positional_dropout_rate", "decoder_attention_dropout_rate")
    off += ("pitch_predictor_dropout", "energy_predictor_dropout", "duration_predictor_dropout_rate")
    config = FastSpeech2ConformerConfig(
        hidden_size=96,
        vocab_size=symbols + 1,
        num_speakers=len(VOICES),
        encoder_layers=2,
        decoder_layers=3,
        encoder_linear_units=256,
        decoder_linear_units=256,
        positionwise_conv_kernel_size=1,
        encoder_normalize_before=True,
        decoder_normalize_before=True,
        decoder_kernel_size=15,
        duration_predictor_channels=96,
        energy_predictor_channels=96,
        pitch_predictor_layers=2,
        pitch_predictor_channels=96,
        speech_decoder_postnet_layers=3,
        speech_decoder_postnet_units=64,
        speech_decoder_postnet_dropout=0.0,
        **dict.fromkeys(off, 0.0),
    )
    return FastSpeech2ConformerModel(config)


def main() -> None:
    """Makes the clips, then trains, or exports what has been trained."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="clips and checkpoints go here")
    parser.add_argument("--texts", type=int, default=110, help="that each voice says")
    parser.add_argument("--minutes", type=float, default=30.0, help="of training")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--export", type=Path, help="write the network to this folder in half precision, and stop")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    kept = given.out / "clips.pt"
    if not kept.exists():
        torch.save([(voice, asdict(clip)) for voice, clip in clips(given.texts, given.seed)], kept)
    found = [(voice, Raw(**clip)) for voice, clip in torch.load(kept, weights_only=True)]
    if given.export:
        export(script(found), given.out, given.export)
        draw = np.random.default_rng(given.seed)
        judge(given.export, {text for _ in VOICES for text in texts(given.texts, draw)})
    else:
        train(found, given.out, given.minutes * 60, given.seed)


def texts(count: int, draw: np.random.Generator) -> Iterator[str]:
    """Yields sentences and rows of drawn words in turn: the first sound as speech does, the others hold all sounds."""
    words = WORDS.read_text(encoding="utf-8").split()
    for number in range(count):
        if number % 3 == 0:
            yield _text.sentence(draw, LANGUAGE)
        else:
            yield " ".join(draw.choice(words, int(draw.integers(3, 8))).tolist())


def clips(count: int, seed: int) -> Iterator[tuple[int, Raw]]:
    """Yields each voice's number with each of its clips."""
    draw, speech = np.random.default_rng(seed), Synthesizer()
    for number, timbre in enumerate(VOICES):
        for text in texts(count, draw):
            spoken: Spoken = speech.say(text, Voice(LANGUAGE, timbre))
            found = [(bare(symbol), start, end) for symbol, start, end in spoken.phonemes]
            yield number, raw(spoken.wave, found, ANALYSIS, text)


def script(found: list[tuple[int, Raw]]) -> Script:
    """Returns the symbols and scales of the clips."""
    symbols = sorted({symbol for _, clip in found for symbol in clip.symbols} - {PAUSE})
    return scaled([clip for _, clip in found], (PAUSE, *symbols), LANGUAGE, ANALYSIS)


def padded(lines: list[Line], voices: list[int]) -> dict[str, Tensor]:
    """Returns a batch as the network reads it."""
    pad = nn.utils.rnn.pad_sequence
    units = pad([line.units for line in lines], batch_first=True)
    return {
        "input_ids": units,
        "attention_mask": (units > 0).long(),
        "duration_labels": pad([line.frames for line in lines], batch_first=True),
        "pitch_labels": pad([line.pitch for line in lines], batch_first=True),
        "energy_labels": pad([line.energy for line in lines], batch_first=True),
        "spectrogram_labels": pad([line.mel for line in lines], batch_first=True, padding_value=-100.0),
        "speaker_ids": torch.tensor(voices),
    }


def train(found: list[tuple[int, Raw]], out: Path, budget: float, seed: int) -> None:
    """Trains for `budget` seconds in all on one cosine schedule over time, from the last checkpoint on."""
    torch.manual_seed(seed)
    known = script(found)
    lines = [(voice, known.line(clip, str(number))) for number, (voice, clip) in enumerate(found)]
    model = network(len(known.symbols)).train()
    print(sum(p.numel() for p in model.parameters()), "numbers,", len(lines), "clips", flush=True)
    optimiser = torch.optim.AdamW(model.parameters(), lr=PEAK, betas=(0.9, 0.98), weight_decay=0.01)
    step, spent, saved = 0, 0.0, out / "network.pt"
    if saved.exists():
        state = torch.load(saved, weights_only=True)
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        step, spent = state["step"], state["seconds"]
    draw, began, total = np.random.default_rng([seed, step]), time.monotonic() - spent, 0.0
    while (spent := time.monotonic() - began) < budget:
        rate = PEAK * min(1, (step + 1) / 100) * (0.02 + 0.98 * (1 + cos(pi * spent / budget)) / 2)
        for group in optimiser.param_groups:
            group["lr"] = rate
        loss = model(**_batch(lines, draw)).loss
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        step, total = step + 1, total + loss.item()
        if step % 50 == 0:
            print(f"step {step}  {spent / 60:.1f} min  rate {rate:.1e}  loss {total / 50:.4f}", flush=True)
            total = 0.0
        if step % 250 == 0:
            _save(saved, model, optimiser, step, spent)
    _save(saved, model, optimiser, step, spent)


def export(known: Script, out: Path, folder: Path) -> None:
    """Writes the network in half precision, with its symbols and scales."""
    model = network(len(known.symbols))
    model.load_state_dict(torch.load(out / "network.pt", weights_only=True)["model"])
    model.half().save_pretrained(folder)
    settings = told(known) | {"voices": VOICES}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings, ensure_ascii=False, indent=1) + "\n")


def judge(folder: Path, learnt: set[str]) -> None:
    """Prints each voice's distortion of new sentences, whose durations are the network's own."""
    speaker, speech, draw = load_speaker(str(folder)), Synthesizer(), np.random.default_rng(99)
    drawn = (_text.sentence(draw, LANGUAGE) for _ in range(200))
    new = list(dict.fromkeys(text for text in drawn if text not in learnt))[:NEW]
    known = script_of(speaker)
    for number, timbre in enumerate(VOICES):
        found = []
        for text in new:
            spoken = speech.say(text, Voice(LANGUAGE, timbre))
            times = [(bare(symbol), start, end) for symbol, start, end in spoken.phonemes]
            whole = paused(times, len(spoken.wave) / ANALYSIS.rate, 2 * ANALYSIS.seconds)
            mel, _ = speaker.speak(known.numbers([unit for unit, _, _ in whole], text), number)
            pair = known.logarithms(mel), ANALYSIS.log_mel(spoken.wave)
            found.append(warped(*(cepstra(each).numpy() for each in pair)))
        print(f"{timbre}: {np.mean(found):.2f} dB over {len(found)} sentences", flush=True)


def _batch(lines: list[tuple[int, Line]], draw: np.random.Generator) -> dict[str, Tensor]:
    """Returns drawn clips of about one length: the middle of five times as many, sorted."""
    drawn = [lines[number] for number in draw.integers(len(lines), size=5 * CLIPS)]
    drawn.sort(key=lambda each: len(each[1].mel))
    start = int(draw.integers(4 * CLIPS + 1))
    chosen = drawn[start : start + CLIPS]
    return padded([line for _, line in chosen], [voice for voice, _ in chosen])


def _save(path: Path, model: nn.Module, optimiser: Any, step: int, spent: float) -> None:
    state = {"model": model.state_dict(), "optimiser": optimiser.state_dict(), "step": step, "seconds": spent}
    torch.save(state, path.with_suffix(".part"))
    path.with_suffix(".part").replace(path)


if __name__ == "__main__":
    main()
