"""What tests make: a tiny random checkpoint and a corpus of tones."""

from pathlib import Path

import numpy as np
import soundfile
import torch
from transformers import (
    ASTConfig,
    ASTFeatureExtractor,
    ASTModel,
    HubertConfig,
    HubertModel,
    Wav2Vec2FeatureExtractor,
)

RATE = 16_000
SHARED = Path(__file__).parents[2] / "shared"


def save_hubert(folder: Path, seed: int = 0) -> Path:
    """Saves a random HuBERT of 2 blocks, a layer norm in its front-end, as transformers saves any checkpoint."""
    torch.manual_seed(seed)
    config = HubertConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        conv_dim=(8,) * 7,
        num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=2,
        feat_extract_norm="layer",
        do_stable_layer_norm=True,
    )
    HubertModel(config).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=False).save_pretrained(folder)
    return folder


def save_tones(folder: Path, clips: int = 12) -> Path:
    """Saves a folder a class: low, mid and high tones of unequal length in noise."""
    draw = np.random.default_rng(0)
    for name, pitch in (("low", 200), ("mid", 900), ("high", 3000)):
        (folder / name).mkdir(parents=True)
        for index in range(clips):
            time = np.arange(int(RATE * draw.uniform(0.15, 0.4))) / RATE
            tone = 0.5 * np.sin(2 * np.pi * pitch * draw.uniform(0.9, 1.1) * time) + 0.05 * draw.standard_normal(
                len(time)
            )
            soundfile.write(folder / name / f"{index}.flac", tone, RATE)
    return folder


def save_ast(folder: Path, frames: int = 1024) -> Path:
    """Saves a random AST of 2 blocks for spectrograms of so many frames; the published ones have 1,024."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    ASTModel(ASTConfig(**sizes, max_length=frames)).save_pretrained(folder)
    ASTFeatureExtractor(max_length=frames).save_pretrained(folder)
    return folder
