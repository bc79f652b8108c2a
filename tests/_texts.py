"""Tiny networks that read texts, with random weights and a tokenizer of letters, and clips of tones that say words."""

import json
from pathlib import Path

import numpy as np
import soundfile
import torch
from _speaker import save_lines, split_of
from transformers import (
    SpeechT5Config,
    SpeechT5ForTextToSpeech,
    SpeechT5HifiGan,
    SpeechT5HifiGanConfig,
    VitsConfig,
    VitsModel,
)

LETTERS = "<pad>", "<s>", "</s>", "<unk>", " ", "'", *"abcdefghijklmnopqrstuvwxyz"
WIDTH, RATE = 8, 16_000


def save_letters(folder: Path, blanks: bool) -> None:
    """Writes a tokenizer of letters; with blanks the first token stands around each, as VITS wants it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({letter: number for number, letter in enumerate(LETTERS)}))
    told = {"tokenizer_class": "VitsTokenizer", "add_blank": blanks, "normalize": True, "phonemize": False}
    (folder / "tokenizer_config.json").write_text(json.dumps(told | {"pad_token": "<pad>", "unk_token": "<unk>"}))


def speecht5_config() -> SpeechT5Config:
    """Returns the shape of a SpeechT5 with one block on each side."""
    return SpeechT5Config(
        hidden_size=32,
        vocab_size=len(LETTERS),
        num_mel_bins=20,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=24,
        decoder_ffn_dim=24,
        speech_decoder_prenet_units=16,
        speech_decoder_postnet_layers=2,
        speech_decoder_postnet_units=8,
        speaker_embedding_dim=WIDTH,
        max_text_positions=60,
        max_speech_positions=80,
    )


def save_speecht5(folder: Path) -> Path:
    """Returns the folder of a checkpoint of SpeechT5, and writes an embedding beside it."""
    torch.manual_seed(0)
    model = SpeechT5ForTextToSpeech(speecht5_config())
    with torch.no_grad():
        model.speech_decoder_postnet.prob_out.bias.fill_(-1.0)  # it does not stop at once
    model.save_pretrained(folder)
    save_letters(folder, blanks=False)
    front = {"feature_extractor_type": "SpeechT5FeatureExtractor", "sampling_rate": RATE, "num_mel_bins": 20}
    (folder / "preprocessor_config.json").write_text(json.dumps(front))
    np.save(folder / "voice.npy", np.random.default_rng(0).normal(size=WIDTH))
    return folder


def save_vits(folder: Path, voices: int = 1, stochastic: bool = False) -> Path:
    """Returns the folder of a checkpoint of VITS, without input settings, as the published ones are."""
    torch.manual_seed(0)
    config = VitsConfig(
        hidden_size=32,
        vocab_size=len(LETTERS),
        num_hidden_layers=1,
        num_attention_heads=2,
        ffn_dim=16,
        flow_size=8,
        num_speakers=voices,
        speaker_embedding_size=4 if voices > 1 else 0,
        use_stochastic_duration_prediction=stochastic,
        upsample_initial_channel=8,
        upsample_rates=(16, 16),
        upsample_kernel_sizes=(32, 32),
        resblock_kernel_sizes=(3,),
        resblock_dilation_sizes=((1, 3),),
        prior_encoder_num_flows=2,
        prior_encoder_num_wavenet_layers=1,
        posterior_encoder_num_wavenet_layers=1,
        duration_predictor_filter_channels=8,
    )
    VitsModel(config).save_pretrained(folder)
    save_letters(folder, blanks=True)
    return folder


def save_hifigan(folder: Path, kind: str) -> Path:
    """Returns the folder of a HiFi-GAN of SpeechT5, whose configuration says that it is of that type."""
    config = SpeechT5HifiGanConfig(
        model_in_dim=20,
        upsample_initial_channel=8,
        upsample_rates=[16, 16],
        upsample_kernel_sizes=[32, 32],
        resblock_kernel_sizes=[3],
        resblock_dilation_sizes=[[1, 3]],
    )
    SpeechT5HifiGan(config).save_pretrained(folder)
    told = json.loads((folder / "config.json").read_text()) | {"model_type": kind}
    (folder / "config.json").write_text(json.dumps(told))
    return folder


def save_texts(folder: Path, count: int = 10) -> Path:
    """Returns the manifest of clips that say drawn words, each letter a tone of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    draw, lines = np.random.default_rng(0), []
    for number in range(count):
        text = "".join(draw.choice(["a", "b", "c"], int(draw.integers(3, 6))).tolist())
        clock = np.arange(int(0.1 * RATE)) / RATE
        pitches = [100.0 + 40 * "abc".index(each) for each in text]
        tones = [sum(0.05 * np.sin(2 * np.pi * hertz * n * clock) for n in range(1, 8)) for hertz in pitches]
        soundfile.write(folder / f"{number}.wav", np.concatenate(tones), RATE)
        said = {"split": split_of(number, count), "transcript": f"{text[:2]} {text[2:]}"}
        lines.append({"path": f"{number}.wav", **said})
    return save_lines(folder, lines)
