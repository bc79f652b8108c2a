"""What `downsample` saves: the seconds of a pass over fewer frames, as a share of those of a pass over all.

`python benchmarks/downsample.py --shared DIR` prints a table: the encoder of Whisper tiny.en where DIR holds it, and a
HuBERT-base-sized random network. Processor seconds, the smallest of several interleaved repeats, clip by clip. `blocks`
leaves out the front-end, whose frames stay as they are. What it costs in quality stands in docs/methods.md.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import torch
from transformers import HubertConfig

from pegbox import backbones, methods
from pegbox.backbones import Backbone
from pegbox.delta import Delta, Term
from pegbox.demo import markdown

SHARED: Final = Path(__file__).resolve().parents[2] / "shared"
RATE: Final = 16_000
SECONDS: Final = (0.5, 5, 15)
FACTORS: Final = (1, 2, 3, 4)


def main() -> None:
    """Measures and prints the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, default=SHARED, help="folder with models/")
    parser.add_argument("--repeats", type=int, default=7)
    given = parser.parse_args()
    whisper = given.shared / "models" / "whisper-tiny-en-encoder"
    hubert = backbones.families()["hubert"]
    networks = {"HuBERT-base": backbones.from_config(HubertConfig(), backbones.Front(RATE), family=hubert)}
    networks |= {"Whisper tiny.en": backbones.load(str(whisper))} if whisper.exists() else {}
    head = ["encoder", "seconds of a clip", *(f"factor {n}, whole" for n in FACTORS[1:])]
    head += [f"factor {n}, blocks" for n in FACTORS[1:]]
    rows = [_row(name, network, length, given.repeats) for name, network in networks.items() for length in SECONDS]
    print(markdown(head, rows))


def _row(name: str, network: Backbone, length: float, repeats: int) -> list[str]:
    wave, lengths = torch.randn(1, round(RATE * length)), torch.tensor([round(RATE * length)])
    whole = _smallest(network, lambda: network(wave, lengths), repeats)
    stem = _smallest(network, lambda: network.stem(wave, lengths), repeats)
    shares = [whole[n] / whole[1] for n in FACTORS[1:]]
    shares += [(whole[n] - stem[n]) / (whole[1] - stem[1]) for n in FACTORS[1:]]
    return [name, f"{length:g}", *(f"{share:.2f}" for share in shares)]


@torch.no_grad()
def _smallest(network: Backbone, work: Callable[[], object], repeats: int) -> dict[int, float]:
    """Returns the least processor seconds of some work for each factor; a first pass is not counted."""
    found: dict[int, list[float]] = {n: [] for n in FACTORS}
    for _ in range(repeats + 1):
        for factor in FACTORS:
            delta = Delta(network.core, _plan(network, factor), network.family.unused)
            before = time.process_time()
            work()
            found[factor].append(time.process_time() - before)
            delta.detach()
    return {factor: min(times[1:]) for factor, times in found.items()}


def _plan(network: Backbone, factor: int) -> Sequence[Term]:
    spec = "weighted_sum" if factor == 1 else f"downsample(factor={factor})"
    return methods.plan(methods.parse(spec), network.sites())


if __name__ == "__main__":
    main()
