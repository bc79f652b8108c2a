"""Child networks: only a few of the network's own entries are trained, in place (Child-Tuning, arXiv:2109.05687).

AD-TUNING (doi:10.21437/Interspeech.2023-1167) takes them for speech networks and chooses how many. Every other entry
keeps its value bit for bit; values, optimiser state and artefact hold the chosen entries alone.
"""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, fields, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from pegbox import importance
from pegbox.entries import Entries, places
from pegbox.errors import RecipeError
from pegbox.importance import Decided, Probe
from pegbox.sites import Edit, Site, Sites, inside, owned

Held = tuple[Site, str]
Chosen = dict[str, Tensor]  # flat places by tensor


@dataclass(frozen=True)
class Child:
    """Trains the share `keep` of all entries of the blocks and norms, or of the sites `at`; identity at the start.

    `choose`: by the squares of the task's gradient ("fisher"), its mean's size ("gradient"), the size of the weights
    ("magnitude"), or a fresh random part at every update ("random", Child-Tuning-F). `scope`: one ranking over all
    tensors, or one a tensor. `batches`: how many training batches the gradients come from, 0 for one whole pass;
    `stable` above 0 stops earlier, when that share of the choice stays the same on twice as many. `examples`:
    gradients of batch means as published, or of each clip. `tensor_clip`: the largest norm of one tensor's gradient
    there. `clip`: whether training clips by the norm of the child's gradient or of its parent's, as published.
    `values`: the precision in which an artefact keeps what the entries have changed by.
    """

    keep: float = 0.01
    choose: Literal["fisher", "gradient", "magnitude", "random"] = "fisher"
    at: tuple[str, ...] = ()
    scope: Literal["network", "tensor"] = "network"
    threshold: Literal["topk", "percentile"] = "topk"
    batches: int = 64
    stable: float = 0.0
    examples: Literal["batch", "each"] = "batch"
    tensor_clip: float = 1.0
    clip: Literal["child", "parent"] = "child"
    values: Literal["single", "half"] = "single"

    learning_rate: ClassVar[float] = 1e-4

    def __post_init__(self) -> None:
        if not 0 < self.keep <= 1:
            raise RecipeError(f"child(keep={self.keep}): a share of all entries, above 0 and up to 1")
        if not 0 <= self.stable <= 1 or self.batches < 0 or self.tensor_clip < 0:
            raise RecipeError("child: stable is a share from 0 to 1; batches and tensor_clip are not negative")
        idle: tuple[str, ...] = () if self.needs_data else ("batches", "stable", "examples", "tensor_clip")
        idle += ("scope", "threshold") if self.choose == "random" else ()
        given = [each.name for each in fields(self) if each.name in idle and getattr(self, each.name) != each.default]
        if given:
            raise RecipeError(f'child(choose="{self.choose}"): {", ".join(given)} would have no effect; leave it out')

    @property
    def needs_data(self) -> bool:
        """Whether the choice needs gradients of the task."""
        return self.choose in ("fisher", "gradient")

    @property
    def basis(self) -> Hashable:
        """What its entries are ranked by, whatever part of them is kept, and how it is trained then."""
        return replace(self, keep=1.0, scope="network", threshold="topk", clip="child", values="single")

    def plan(self, sites: Sites) -> Iterator[Edit]:
        """Yields one edit a tensor: as chosen without data, or on the meta device as many entries as there will be."""
        pool = self._pool(sites)
        if not all(tensor.is_meta for tensor in pool.values()):
            if self.needs_data:
                raise RecipeError(
                    f'child(choose="{self.choose}") looks at data before it can be attached; use it in a recipe '
                    'with pegbox.train, or take choose="magnitude"'
                )
            yield from self.settle(sites, self.decide(sites, None, [self])[0].tensors)
            return
        done = kept = 0
        for (site, name), tensor in self._held(sites):
            done += tensor.numel()
            share = 1.0 if self.choose == "random" else self.keep
            index = torch.arange(round(share * done) - kept, dtype=torch.int32, device="cpu")
            kept += len(index)
            if len(index):
                yield inside(site, name, self._entries(tensor, index))

    def decide(self, sites: Sites, probe: Probe | None, rivals: Sequence["Child"]) -> list[Decided]:
        """Returns for each rival where its entries stand, packed, by tensor; they share one ranking."""
        pool = self._pool(sites)
        if probe is not None:
            return self._measured(pool, probe, rivals)
        if self.choose == "random":
            whole = {name: torch.arange(tensor.numel(), dtype=torch.int32) for name, tensor in pool.items()}
            return [Decided(_packed(whole, pool)) for _ in rivals]
        sizes = {name: tensor.detach().float().abs() for name, tensor in pool.items()}
        return [Decided(_packed(chosen, pool)) for chosen in _chosen(rivals, sizes)]

    def settle(self, sites: Sites, choice: Mapping[str, Tensor]) -> Iterator[Edit]:
        """Yields one edit for each tensor that has entries in the choice, or for all whose gradients are measured."""
        for (site, name), tensor in self._held(sites):
            index = places(_key(site, name), choice, tensor.numel())
            if len(index) or self.clip == "parent":
                yield inside(site, name, self._entries(tensor, index))

    def _measured(self, pool: Mapping[str, Tensor], probe: Probe, rivals: Sequence["Child"]) -> list[Decided]:
        """Chooses for each rival by the first look that `stable` is content with, or else by all batches."""
        decided: dict[int, Decided] = {}
        before: dict[int, Chosen] = {}
        with closing(probe.importance(pool, self)) as looks:
            for found in looks:
                waiting = [number for number in range(len(rivals)) if number not in decided]
                now = dict(zip(waiting, _chosen([rivals[number] for number in waiting], found), strict=True))
                alike = {n: now[n] for n in before if n in now and importance.overlap(before[n], now[n]) >= self.stable}
                decided |= _told(alike, found, pool, probe.batches)
                before = now
                if len(decided) == len(rivals):
                    break
        rest = {number: chosen for number, chosen in now.items() if number not in decided}
        decided |= _told(rest, found, pool, probe.batches)
        return [decided[number] for number in range(len(rivals))]

    def _entries(self, tensor: Tensor, index: Tensor) -> Entries:
        thinned = self.keep if self.choose == "random" else 1.0
        return Entries(tensor, index, self.clip == "parent", thinned, self.values == "half")

    def _held(self, sites: Sites) -> Iterator[tuple[Held, Tensor]]:
        pool = [(s, t) for s in sites(*self.at) for t in ("weight", "bias") if owned(s, t)] if self.at else sites.pool()
        for site, name in pool:
            yield (site, name), getattr(site.owner, name)

    def _pool(self, sites: Sites) -> dict[str, Tensor]:
        pool = {_key(*held): tensor for held, tensor in self._held(sites)}
        if not pool:
            raise RecipeError(f"child: none of the sites {list(self.at)} in the chosen blocks owns a tensor")
        return pool


def _key(site: Site, tensor: str) -> str:
    return f"{site.name}:{tensor}".replace(".", "/")


def _chosen(rivals: Sequence[Child], found: Mapping[str, Tensor]) -> list[Chosen]:
    """Returns each rival's choice; those of one rule come from one selection."""
    shares = sorted({each.keep for each in rivals})
    rules = {
        (each.scope, each.threshold): [found] if each.scope == "network" else [{name: t} for name, t in found.items()]
        for each in rivals
    }
    chosen = {}
    for (scope, rule), parts in rules.items():
        selected = [importance.select(part, shares, rule) for part in parts]
        for share, own in zip(shares, zip(*selected, strict=True), strict=True):
            chosen[scope, rule, share] = {name: index for part in own for name, index in part.items()}
    return [chosen[each.scope, each.threshold, each.keep] for each in rivals]


def _packed(chosen: Chosen, pool: Mapping[str, Tensor]) -> dict[str, Tensor]:
    packed = {name: importance.pack(index, pool[name].numel()) for name, index in chosen.items()}
    lows = {f"{name}.low": low for name, (low, _) in packed.items()}
    return lows | {f"{name}.high": high for name, (_, high) in packed.items()}


def _told(
    choices: Mapping[int, Chosen], found: Mapping[str, Tensor], pool: Mapping[str, Tensor], batches: int
) -> dict[int, Decided]:
    """Returns choices by one importance as an artefact names them, with its distribution."""
    if not choices:
        return {}
    mass = {f"{share:g}": part for share, part in importance.mass(found).items()}
    parts = {name: float(each.sum(dtype=torch.float64)) for name, each in found.items()}
    return {
        number: Decided(_packed(chosen, pool), {"batches": batches, "mass": mass, **_tables(parts, found, chosen)})
        for number, chosen in choices.items()
    }


def _tables(parts: Mapping[str, float], found: Mapping[str, Tensor], chosen: Chosen) -> dict[str, object]:
    """Returns by block and by role the share of importance, the number of entries, and how many were chosen."""
    total = sum(parts.values())
    tables: dict[str, dict[str, list[float]]] = {"block": {}, "role": {}}
    for name, each in found.items():
        block, _, role = name.partition("/")
        inner = block.isdigit()
        keys = {"block": block if inner else "outside", "role": (role if inner else name).rpartition(":")[0]}
        for table, key in keys.items():
            row = tables[table].setdefault(key, [0.0, 0, 0])
            row[0] += parts[name] / total if total else 0.0
            row[1] += each.numel()
            row[2] += len(chosen.get(name, ()))
    return dict(tables)
