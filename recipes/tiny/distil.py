"""Distils layers of Whisper tiny.en's encoder into the `tiny` HuBERT: `python recipes/tiny/distil.py --out DIR`.

Depth-matched heads as in DistilHuBERT (arXiv:2110.01900), L1 and cosine on standardised targets, a log-Mel head on the
convolutions. Goes on from the last checkpoint in DIR; `--export FOLDER` writes the checkpoint that ships.
"""

import argparse
import json
import time
from dataclasses import dataclass
from math import cos, pi
from pathlib import Path
from typing import Final

import crops
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import HubertConfig, HubertModel, Wav2Vec2FeatureExtractor

from pegbox import backbones
from pegbox.corpora.synthetic._espeak import RATE

SHARED: Final = Path(__file__).resolve().parents[3] / "shared"
LAYERS: Final = (2, 3, 4)  # of the teacher, and of the student
BATCH_SECONDS: Final = 30
WIDTH: Final = 384


def student() -> HubertModel:
    """Returns the untrained network: 3.5 million numbers."""
    config = HubertConfig(
        vocab_size=32,
        hidden_size=256,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=1024,
        conv_dim=(64, 96, *[128] * 5),
        conv_kernel=(10, 3, 3, 3, 3, 2, 2),
        conv_stride=(5, 2, 2, 2, 2, 2, 2),
        conv_bias=False,
        feat_extract_norm="group",
        num_conv_pos_embeddings=32,
        num_conv_pos_embedding_groups=16,
        do_stable_layer_norm=True,
        apply_spec_augment=False,
        hidden_dropout=0.0,
        attention_dropout=0.0,
        activation_dropout=0.0,
        feat_proj_dropout=0.0,
        final_dropout=0.0,
        layerdrop=0.0,
    )
    return HubertModel._from_config(config, attn_implementation="eager")  # its backward is the faster one on a CPU


class Heads(nn.Module):
    """What stands on the student in training only: a linear map a layer, and one to the Mel frames."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(256, WIDTH) for _ in LAYERS)
        self.mel = nn.Linear(128, 160)


@dataclass(frozen=True)
class Targets:
    """Memory-mapped crops and what the teacher says of them, for one length."""

    waves: np.ndarray  # (crops, samples) int16
    layers: np.ndarray  # (crops, frames, 3 * 384) float16, standardised
    mel: np.ndarray  # (crops, frames, 160) float16


def main() -> None:
    """Makes crops, targets, and the student, each once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="crops, targets and checkpoints go here (10 GB)")
    parser.add_argument("--shared", type=Path, default=SHARED, help="folder with models/ and data/real/")
    parser.add_argument("--hours", type=float, default=20.0, help="of distinct crops")
    parser.add_argument("--minutes", type=float, default=80.0, help="of training")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--export", type=Path, help="write the student to this folder in half precision, and stop")
    given = parser.parse_args()
    if given.export:
        export(given.out, given.export)
        return
    if not (given.out / "crops-48000.npy").exists():
        _timed("crops", crops.make, given.shared, given.out, given.hours, given.seed)
    if not (given.out / "targets.json").exists():
        _timed("targets", teach, given.shared, given.out)
    train(given.out, given.minutes * 60, given.seed)


@torch.no_grad()
def teach(shared: Path, out: Path) -> None:
    """Writes the teacher's standardised layers and its log-Mel frames for every crop."""
    teacher = backbones.load(str(shared / "models" / "whisper-tiny-en-encoder"), "bf16")
    longest = np.load(out / "crops-48000.npy", mmap_mode="r")
    found = [_ask(teacher, longest[start : start + 10])[0] for start in range(0, min(2_000, len(longest)), 10)]
    sample = torch.cat(found).float()
    mean = sample.mean(0)  # per frame and number: what the positions say
    deviation = (sample - mean).std((0, 1))
    for size in crops.BUCKETS:
        waves = np.load(out / f"crops-{size}.npy", mmap_mode="r")
        frames, step = (size - 400) // 320 + 1, BATCH_SECONDS * RATE // size
        layers, mel = (_array(out / f"{kind}-{size}.npy", len(waves), frames, width) for kind, width in _KINDS)
        for start in range(0, len(waves), step):
            states, spectrum = _ask(teacher, waves[start : start + step])
            layers[start : start + step] = ((states.float() - mean[:frames]) / deviation).half().numpy()
            mel[start : start + step] = spectrum.half().numpy()
    (out / "targets.json").write_text(json.dumps({"layers": LAYERS}))


def train(out: Path, budget: float, seed: int) -> None:
    """Trains for `budget` seconds in all on one cosine schedule over time, from the last checkpoint on."""
    torch.manual_seed(seed)
    data = [_open(out, size) for size in crops.BUCKETS]
    weights = np.array([len(each.waves) * each.waves.shape[1] for each in data], float)
    model, heads = student().train(), Heads()
    model.feature_extractor._requires_grad = False  # else the waveform gets a gradient that nobody reads
    groups = [{"params": [p for m in (model, heads) for p in m.parameters() if (p.ndim > 1) == big]} for big in (1, 0)]
    groups[0]["weight_decay"], groups[1]["weight_decay"] = 0.01, 0.0
    optimiser = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.98))
    step, spent, saved = 0, 0.0, out / "student.pt"
    if saved.exists():
        state = torch.load(saved, weights_only=True)
        model.load_state_dict(state["model"])
        heads.load_state_dict(state["heads"])
        optimiser.load_state_dict(state["optimiser"])
        step, spent = state["step"], state["seconds"]
    draw, began, total = np.random.default_rng([seed, step]), time.monotonic() - spent, 0.0
    while (spent := time.monotonic() - began) < budget:
        rate = 1e-3 * min(1, (step + 1) / 100) * (0.03 + 0.97 * (1 + cos(pi * spent / budget)) / 2)
        for group in optimiser.param_groups:
            group["lr"] = rate
        loss = _loss(model, heads, data[int(draw.choice(len(data), p=weights / weights.sum()))], draw)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_([*model.parameters(), *heads.parameters()], 1.0)
        optimiser.step()
        step, total = step + 1, total + loss.item()
        if step % 100 == 0:
            print(f"step {step}  {spent / 60:.1f} min  rate {rate:.1e}  loss {total / 100:.4f}", flush=True)
            total = 0.0
        if step % 1000 == 0:
            _save(saved, model, heads, optimiser, step, spent)
    _save(saved, model, heads, optimiser, step, spent)


def export(out: Path, folder: Path) -> None:
    """Writes the student as an ordinary `transformers` checkpoint in half precision."""
    model = student()
    model.load_state_dict(torch.load(out / "student.pt", weights_only=True)["model"])
    model.half().save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=False).save_pretrained(folder)


_KINDS: Final = (("layers", len(LAYERS) * WIDTH), ("mel", 160))


def _loss(model: HubertModel, heads: Heads, data: Targets, draw: np.random.Generator) -> Tensor:
    count = BATCH_SECONDS * RATE // data.waves.shape[1]
    chosen = np.sort(draw.choice(len(data.waves), count, replace=False))
    wave = torch.from_numpy(data.waves[chosen].astype(np.float32))
    wave = (wave - wave.mean(1, keepdim=True)) / (wave.var(1, keepdim=True) + 1e-7).sqrt()
    wanted = torch.from_numpy(data.layers[chosen]).float().chunk(len(LAYERS), -1)
    mel = torch.from_numpy(data.mel[chosen]).float()
    with torch.autocast("cpu", torch.bfloat16):
        heard = []
        hook = model.feature_extractor.register_forward_hook(lambda module, x, y: heard.append(y.transpose(1, 2)))
        found = model(wave, output_hidden_states=True)
        hook.remove()
        states = [*found.hidden_states[:-1], found.last_hidden_state]
        said = [head(states[layer]).float() for head, layer in zip(heads.layers, LAYERS, strict=True)]
        spectrum = heads.mel(heard[0]).float()
    far = [F.l1_loss(x, y) + 1 - F.cosine_similarity(x, y, dim=-1).mean() for x, y in zip(said, wanted, strict=True)]
    return torch.stack(far).sum() + 0.5 * F.l1_loss(spectrum, mel)


def _ask(teacher: backbones.Backbone, waves: np.ndarray) -> tuple[Tensor, Tensor]:
    wave = torch.from_numpy(waves.astype(np.float32) / 32768)
    lengths = torch.full((len(wave),), wave.shape[1])
    frames = (wave.shape[1] - 400) // 320 + 1
    mel = teacher.front(wave, lengths).transpose(1, 2)  # (batch, Mel frames, 80)
    states = teacher(wave, lengths)
    layers = torch.cat([states[layer].float() for layer in LAYERS], -1)[:, :frames]
    return layers, mel[:, : 2 * frames].reshape(len(wave), frames, 160)


def _array(path: Path, count: int, frames: int, width: int) -> np.ndarray:
    return np.lib.format.open_memmap(path, "w+", np.float16, (count, frames, width))


def _open(out: Path, size: int) -> Targets:
    return Targets(*(np.load(out / f"{kind}-{size}.npy", mmap_mode="r") for kind in ("crops", "layers", "mel")))


def _save(
    path: Path, model: nn.Module, heads: nn.Module, optimiser: torch.optim.Optimizer, step: int, spent: float
) -> None:
    state = {"model": model.state_dict(), "heads": heads.state_dict(), "optimiser": optimiser.state_dict()}
    torch.save(state | {"step": step, "seconds": spent}, path.with_suffix(".part"))
    path.with_suffix(".part").replace(path)


def _timed(what: str, work, *given) -> None:
    began = time.monotonic()
    work(*given)
    print(f"{what}: {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
