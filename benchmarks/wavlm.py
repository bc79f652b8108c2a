"""WavLM's attention: the library's and Pegbox's on the same random WavLM-base-sized model, interleaved.

python benchmarks/wavlm.py           # prints the table and writes benchmarks/wavlm.md
"""

import time
from pathlib import Path

import torch
from transformers import WavLMConfig, WavLMModel

import pegbox

CLIPS, SECONDS, REPEATS, THREADS = 4, 4, 5, 2


def main() -> None:
    """Measures forward alone, and forward with backward of a LoRA on the FFN, where both can train."""
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    model = WavLMModel(WavLMConfig(layerdrop=0.0, mask_time_prob=0.0)).eval().requires_grad_(False)
    waves = torch.randn(CLIPS, SECONDS * 16_000)
    states = model.feature_projection(model.feature_extractor(waves).transpose(1, 2))[0].detach()
    library, ours = [], []
    for _ in range(REPEATS):
        library.append(cost(model, states))
        delta = pegbox.attach(model, 'lora(rank=8, at=["up"])')
        ours.append(cost(model, states))
        delta.detach()
    rows = [("the library's", *map(min, zip(*library, strict=True))), ("Pegbox's", *map(min, zip(*ours, strict=True)))]
    lines = [
        "# WavLM's attention",
        "",
        f"Random WavLM-base, the 12 blocks alone, {CLIPS} clips of {SECONDS} s, {THREADS} threads, torch "
        f"{torch.__version__}; smallest of {REPEATS} interleaved runs. Printed by `python benchmarks/wavlm.py`.",
        "",
        "| attention | forward, CPU s | forward and backward to the blocks' input, CPU s |",
        "|---|---|---|",
        *(f"| {name} | {forward:.3f} | {both:.3f} |" for name, forward, both in rows),
        "",
        f"Ratio: forward {rows[1][1] / rows[0][1]:.2f}, forward and backward {rows[1][2] / rows[0][2]:.2f}.",
    ]
    text = "\n".join(lines)
    print(text)
    Path(__file__).with_suffix(".md").write_text(text + "\n", encoding="utf-8")


def cost(model: WavLMModel, states: torch.Tensor) -> tuple[float, float]:
    """Returns CPU seconds of the encoder's forward, and of forward and backward."""
    started = time.process_time()
    with torch.no_grad():
        model.encoder(states.clone())
    forward = time.process_time() - started
    started = time.process_time()
    model.encoder(states.clone().requires_grad_() * 1.0).last_hidden_state.square().mean().backward()
    return forward, time.process_time() - started


if __name__ == "__main__":
    main()
