"""Cost of a training step: full tuning, peft's LoRA as shipped, and Pegbox's, on one HuBERT-base-sized random model.

Every variant runs in a process of its own, several times, interleaved, so that a noisy machine meets all alike.
CPU seconds (both threads summed) are the figure to trust; the smallest of the repeats is reported.

    python benchmarks/step.py            # prints the table and writes benchmarks/step.md
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

CLIPS, SECONDS, RATE, THREADS = 4, 4, 16_000, 2
TARGETS = {
    "ours, first epoch": ("cpu", 0.70),
    "ours, cached": ("cpu", 0.58),
    "ours, cached, bf16": ("cpu", 0.33),
}
VARIANTS = ("full", "peft", "ours, first epoch", "ours, cached", "ours, cached, bf16", "ours, probe, cached")


def main() -> None:
    """Runs every variant and prints the comparison, or runs one variant as a child."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--variant", choices=VARIANTS)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    if given.variant:
        print(json.dumps(measure(given.variant, given.steps)))
        return
    found: dict[str, list[dict[str, float]]] = {variant: [] for variant in VARIANTS}
    for _ in range(given.repeats):
        for variant in VARIANTS:
            found[variant].append(child(variant, given.steps))
            print(f"{variant}: {found[variant][-1]}", file=sys.stderr)
    text = table(found)
    print(text)
    Path(__file__).with_suffix(".md").write_text(text + "\n", encoding="utf-8")


def child(variant: str, steps: int) -> dict[str, float]:
    """Runs one variant in a process of its own."""
    environment = os.environ | {"OMP_NUM_THREADS": str(THREADS)}
    command = [sys.executable, __file__, "--variant", variant, "--steps", str(steps)]
    out = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    return json.loads(out.splitlines()[-1])


def measure(variant: str, steps: int) -> dict[str, float]:
    """Returns CPU and wall seconds a step after one warm-up step, and the peak memory of the process."""
    import torch

    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    step = MAKERS[variant.partition(",")[0]](variant)
    step()
    cpus, walls = [], []
    for _ in range(steps if "probe" not in variant else 40 * steps):
        cpu, wall = time.process_time(), time.perf_counter()
        step()
        cpus.append(time.process_time() - cpu)
        walls.append(time.perf_counter() - wall)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"cpu": min(cpus), "wall": min(walls), "peak_mb": peak}


def library(variant: str) -> Callable[[], None]:
    """Full tuning, or peft's LoRA on q and v, as their documentation has it: train mode, AdamW, linear head."""
    import torch
    from transformers import HubertConfig, HubertModel

    model = HubertModel(HubertConfig(layerdrop=0.0, mask_time_prob=0.0))
    if variant == "peft":
        from peft import LoraConfig, get_peft_model

        model = get_peft_model(model, LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"]))
    head = torch.nn.Linear(768, 10)
    trained = [p for p in [*model.parameters(), *head.parameters()] if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4)
    waves, labels = torch.randn(CLIPS, SECONDS * RATE), torch.arange(CLIPS)
    model.train()

    def step() -> None:
        loss = torch.nn.functional.cross_entropy(head(model(waves).last_hidden_state.mean(1)), labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def ours(variant: str) -> Callable[[], None]:
    """The product's own path: a recipe's trainer on clips of a corpus, fed from audio or from the cache."""
    import numpy as np
    import soundfile
    import torch
    from accelerate import Accelerator
    from transformers import HubertConfig

    from pegbox import methods, tasks
    from pegbox.backbones import Front, families, from_config
    from pegbox.recipe import make
    from pegbox.rows import Row
    from pegbox.training.cache import StateCache
    from pegbox.training.feed import Feed
    from pegbox.training.layouts import layout_of
    from pegbox.training.loop import Trainer
    from pegbox.training.prepare import assemble

    folder = Path(tempfile.mkdtemp())
    draw = np.random.default_rng(0)
    rows = []
    for index in range(CLIPS):
        path = folder / f"{index}.wav"
        soundfile.write(path, 0.1 * draw.standard_normal(SECONDS * RATE), RATE)
        rows.append(Row(str(index), str(path), {"word": str(index)}, "train"))
    precision = "bf16" if "bf16" in variant else "fp32"
    recipe = make(
        {
            "backbone": "random",
            "method": "weighted_sum" if "probe" in variant else "lora(rank=8)",
            "features": "auto" if "probe" in variant else "last",
            "task": 'classify(label="word")',
            "corpus": 'folder(root="none")',
            "train": {"precision": precision},
        }
    )
    backbone = from_config(
        HubertConfig(mask_time_prob=0.0), Front(RATE), precision=precision, family=families()["hubert"]
    )
    task = tasks.build(recipe.task)
    vocabulary = task.vocabulary({"train": [row.labels for row in rows]})
    model = assemble(recipe, backbone, task, vocabulary)
    layout, _, _ = layout_of(recipe, [model], [backbone.frames(SECONDS * RATE)] * CLIPS)
    cache = StateCache(folder / "cache", backbone, layout) if "cached" in variant and layout else None
    if cache:
        list(cache.fill(rows))
        torch.set_num_threads(1 if cache.layout.kind == "pooled" else THREADS)  # as a trial does
    trainer = Trainer(model, Feed(backbone, cache), methods.parse(recipe.method), recipe.train, 0, Accelerator())
    return lambda: trainer._update([rows], 0.5) and None


MAKERS = {"full": library, "peft": library, "ours": ours}


def table(found: dict[str, list[dict[str, float]]]) -> str:
    """Returns the comparison as Markdown, ratios to peft as shipped."""
    import platform

    import torch

    best = {
        variant: {key: min(each[key] for each in runs) for key in ("cpu", "wall", "peak_mb")}
        for variant, runs in found.items()
    }
    base = best["peft"]
    lines = [
        "# Cost of a training step",
        "",
        f"HuBERT-base-sized random model, {CLIPS} clips of {SECONDS} s, {THREADS} threads, torch {torch.__version__}, "
        f"{platform.machine()}; smallest of {len(found['peft'])} interleaved processes a variant. "
        "Printed by `python benchmarks/step.py`.",
        "",
        "| variant | CPU s a step | of peft | wall s a step | peak MB | of peft |",
        "|---|---|---|---|---|---|",
    ]
    for variant, each in best.items():
        lines.append(
            f"| {variant} | {each['cpu']:.4f} | {each['cpu'] / base['cpu']:.4f} | {each['wall']:.4f} "
            f"| {each['peak_mb']:.0f} | {each['peak_mb'] / base['peak_mb']:.2f} |"
        )
    probe = best["ours, probe, cached"]
    lines += [
        "",
        f"A probe's step on cached features is {base['cpu'] / probe['cpu']:.0f} times cheaper than peft's LoRA.",
    ]
    for variant, (key, limit) in TARGETS.items():
        ratio = best[variant][key] / base[key]
        lines.append(
            f"- {variant}: {ratio:.3f} of peft's CPU time, wanted at most {limit}: {'yes' if ratio <= limit else 'NO'}"
        )
    for variant in ("ours, first epoch", "ours, cached"):
        ratio = best[variant]["peak_mb"] / base["peak_mb"]
        lines.append(
            f"- {variant}: {ratio:.3f} of peft's peak memory, wanted at most 0.60: {'yes' if ratio <= 0.6 else 'NO'}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
