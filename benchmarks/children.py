"""What three competing children cost on a HuBERT-base-sized random network, beside full tuning.

`python benchmarks/children.py` prints, as Markdown: the static training memory of the three-candidate stage (every
tensor that is alive between steps, and the largest dense gradient that is alive within one), beside three full copies;
the processor seconds that choosing all three takes once importance is measured, with their reports, by what a run
calls; a step of each child, with its turn on the network, beside a step of full tuning; and, in a short search on
tones, the bytes of live tensors before and after its rung drops two of three. One process; the steps are interleaved,
the median of their ratios is told. `--only` chooses a part.
"""

import argparse
import gc
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Final

import soundfile
import torch
from torch import Tensor, nn
from transformers import HubertConfig, HubertModel, Wav2Vec2FeatureExtractor

import pegbox
from pegbox import methods
from pegbox.backbones import Backbone, Front, families, from_config
from pegbox.delta import Delta
from pegbox.demo import markdown
from pegbox.training.entrant import Judged, Tried
from pegbox.training.loop import Step

KEEP: Final = (0.1, 0.01, 0.001)
SECONDS, CLIPS = 2, 2


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--only", choices=("steps", "rung"), help="leaves the other part out")
    given = parser.parse_args()
    torch.manual_seed(0)
    rows = _searched() if given.only != "steps" else []
    rows = (_alone(given.steps) if given.only != "rung" else []) + rows
    print(markdown(["what", "found"], rows))


def _alone(count: int) -> list[list[str]]:
    """Returns rows on choosing, memory and steps, without a training around them."""
    backbone = from_config(HubertConfig(), Front(16_000), device="cpu", family=families()["hubert"])
    found = {f"{site.name}:{name}".replace(".", "/"): _drawn(site, name) for site, name in backbone.sites().pool()}
    unions = {f"child(keep={keep})": methods.parse(f"child(keep={keep})") for keep in KEEP}
    started = time.process_time()
    decided = methods.decide(unions, backbone.sites(), Drawn(found))
    seconds = time.process_time() - started
    del found
    children = [_child(backbone, union, decided[name]["child"].tensors) for name, union in unions.items()]
    weights = list(backbone.core.parameters())
    steps = {name: _turn(backbone, *pair) for name, pair in zip(unions, children, strict=True)}
    for step in steps.values():
        step()
    static = _alive() + 4 * max(tensor.numel() for tensor in weights)
    rows = [["static memory, three children, GB", f"{static / 1e9:.2f}"]]
    copies = 3 * 16 * sum(tensor.numel() for tensor in weights)
    rows.append(["three full copies with AdamW, GB (computed)", f"{copies / 1e9:.2f}"])
    rows.append(["processor seconds to choose all three, with their reports", f"{seconds:.1f}"])
    return rows + _relative(steps, backbone, count)


def _searched() -> list[list[str]]:
    """Returns rows on the tensors that live in a search: at its last step before the rung, behind it, and later."""
    alive: dict[str, int] = {}

    def see(event: Any, folder: Path) -> None:
        happened = event.event if isinstance(event, Tried) else event
        if isinstance(happened, Step | Judged):
            where = {Tried: "before", Judged: "after"}.get(type(event), "later")
            alive[where] = max(alive.get(where, 0), _alive())

    with TemporaryDirectory() as place:
        pegbox.train(_search(Path(place)), Path(place) / "run", see)
    told = {
        "before": "live tensors in a search of three, before its rung drops two, GB",
        "after": "live tensors when they are dropped, GB",
        "later": "live tensors while the winner goes on, at most, GB",
    }
    return [[told[where], f"{alive[where] / 1e9:.3f}"] for where in told]


def _search(place: Path) -> dict[str, Any]:
    """Returns a recipe of four steps on a new network and new tones in a folder."""
    HubertModel(HubertConfig()).save_pretrained(place / "network")
    Wav2Vec2FeatureExtractor().save_pretrained(place / "network")
    for name, pitch in (("low", 200), ("high", 900)):
        (place / "tones" / name).mkdir(parents=True)
        for number in range(6):
            wave = torch.sin(torch.arange(16_000) * pitch * (1 + number / 50) * 2 * torch.pi / 16_000)
            soundfile.write(place / "tones" / name / f"{number}.flac", wave.numpy(), 16_000)
    return {
        "backbone": str(place / "network"),
        "method": f"ad_tuning(keep={list(KEEP)}, strive=0.5, batches=2)",
        "task": 'classify(label="class")',
        "corpus": f'folder(root="{place / "tones"}", valid=0.2, test=0.2)',
        "train": {"steps": 4, "validate_steps": 2, "batch_clips": 2},
        "cache": {"use": False},
    }


def _drawn(site: Any, name: str) -> Tensor:
    return torch.rand_like(getattr(site.owner, name)).pow_(8)  # heavy-tailed, as Fisher information is


@dataclass(frozen=True)
class Drawn:
    """Gives importance that is there already, as a measurement would."""

    found: dict[str, Tensor]
    batches: int = 1

    def importance(self, tensors: Mapping[str, Tensor], wish: Any) -> Generator[dict[str, Tensor]]:
        """Yields it once."""
        yield {name: self.found[name] for name in tensors}


def _child(
    backbone: Backbone, union: tuple[methods.Chosen, ...], choice: dict[str, Tensor]
) -> tuple[Delta, torch.optim.Optimizer]:
    delta = Delta(backbone.core, methods.plan(union, backbone.sites(), {"child": choice}), backbone.family.unused)
    delta.detach()
    return delta, torch.optim.AdamW(delta.parameters(), lr=1e-4, fused=True)


def _turn(backbone: Backbone, delta: Delta, optimizer: torch.optim.Optimizer) -> Callable[[], None]:
    def step() -> None:
        delta.attach()
        _step(backbone, optimizer)
        delta.detach()

    return step


def _step(backbone: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    wave = torch.randn(CLIPS, SECONDS * 16_000)
    states = backbone(wave, torch.full((CLIPS,), SECONDS * 16_000))
    torch.stack([state.mean() for state in states]).sum().backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def _relative(steps: dict[str, Callable[[], None]], backbone: Backbone, count: int) -> list[list[str]]:
    full = Delta(backbone.core, methods.plan(methods.parse("full"), backbone.sites()), backbone.family.unused)
    full.detach()
    optimizer = torch.optim.AdamW(full.parameters(), lr=1e-5, fused=True)
    times: dict[str, list[float]] = {name: [] for name in (*steps, "full")}
    for _ in range(count):
        for name, step in steps.items():
            times[name].append(_timed(step))
        full.attach()
        times["full"].append(_timed(lambda: _step(backbone, optimizer)))  # its turn would copy the whole network
        full.detach()
    ratios = {name: [a / b for a, b in zip(times[name], times["full"], strict=True)] for name in steps}
    return [
        [f"a step of {name}, with its turn, of one of full tuning", f"{median(r):.2f}"] for name, r in ratios.items()
    ]


def _timed(step: Callable[[], None]) -> float:
    started = time.process_time()
    step()
    return time.process_time() - started


def _alive() -> int:
    """Returns the bytes of all storages that tensors hold now."""
    gc.collect()
    storages = {}
    for each in gc.get_objects():
        if issubclass(type(each), Tensor) and not each.is_meta:
            storages[each.untyped_storage().data_ptr()] = each.untyped_storage().nbytes()
    return sum(storages.values())


if __name__ == "__main__":
    main()
