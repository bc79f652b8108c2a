"""What a recipe would do, known before any weight or clip is read: counts, cache, steps, memory."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import torch

from pegbox import backbones, methods, tasks
from pegbox.backbones import Family, Network
from pegbox.delta import Delta
from pegbox.errors import RecipeError
from pegbox.recipe import Recipe, Search
from pegbox.rows import Row, seconds
from pegbox.tasks import Pairs, Task
from pegbox.training import headstart
from pegbox.training.candidates import resolve
from pegbox.training.epochs import drawn
from pegbox.training.feed import shuffled
from pegbox.training.layouts import layout_of
from pegbox.training.model import Tuned
from pegbox.training.prepare import (
    Data,
    assemble,
    corpus_rows,
    count,
    data_of,
    features_of,
    frames_of,
    frozen_precision,
    notes_on,
    outline_network,
    single,
    without_method,
)

_WIDTHS: Final = 24  # that a block keeps of each frame for its gradient, about


@dataclass(frozen=True)
class Effort:
    """What a run asks of a machine, in seconds of audio; what those cost there is `pace.py`'s."""

    heard: float  # that it trains on, of all candidates of a search
    looked: float  # that it validates and tests
    filled: float  # whose frozen part is computed once for the cache that all such runs share; 0 without a cache
    steps: int
    frozen: int  # blocks below the lowest edit
    taught: int  # blocks through which gradients flow
    stem: bool  # whether what is below the blocks is trained
    means: bool  # whether a step reads means over time alone
    share: float  # trained numbers in the backbone, of its own
    beside: bool  # whether the method stands beside the network and reads its states
    limit: float = 0.0  # seconds of a clock after which training is over; 0: none
    before: "Effort | None" = None  # of what trains the head alone


@dataclass(frozen=True)
class Plan:
    """What a recipe would do, as `pegbox check` prints it. Bytes and counts, before any weight or clip is read."""

    family: str
    features: str
    clips: dict[str, int]
    hours: dict[str, float]
    outputs: int
    parameters: dict[str, int]  # delta, layers, head, backbone
    candidates: dict[str, int]  # of a search: numbers that each method trains
    cache: str
    cache_bytes: int
    steps: int
    memory_bytes: int  # an estimate
    effort: Effort
    notes: tuple[str, ...] = ()  # what a person should know

    @property
    def share(self) -> float:
        """Trained numbers of the method as a share of the backbone."""
        return self.parameters["delta"] / self.parameters["backbone"]


@dataclass(frozen=True)
class Part:
    """What one method of a union trains in one role."""

    method: str
    role: str
    edits: int
    parameters: int


@dataclass(frozen=True)
class Parts:
    """What a method trains on a network, as `pegbox params` prints it; tensors that edits share count once."""

    family: str
    backbone: int
    parts: tuple[Part, ...]
    layers: int  # weights of hidden states, outside the backbone, where the method stands for their weighted sum

    @property
    def total(self) -> int:
        """Every number that the method trains in or beside the network; a head and layer weights come on top."""
        return sum(part.parameters for part in self.parts)

    @property
    def share(self) -> float:
        """The total as a share of the backbone."""
        return self.total / self.backbone


def plan(recipe: Recipe) -> Plan:
    """Returns what a recipe would do, with the network on the meta device; of several candidates, the largest one's.

    Raises:
        RecipeError, CorpusError, WeightsError: whatever can be known to be wrong this early.
    """
    recipe = resolve(recipe)
    task = tasks.build(recipe.task)
    backbone = outline_network(recipe.backbone, task)
    backbone.precision = frozen_precision(recipe)
    _check_rungs(recipe.search, task)
    rows = corpus_rows(recipe, recipe.folds[0] if recipe.folds else None)
    data = data_of(rows, task, backbone, recipe.train.longer_than)
    models = []
    for each in single(recipe):
        with torch.device("meta"):
            models.append(assemble(each, backbone, task, data.vocabulary))
        models[-1].delta.detach()
    headstart.check(recipe, models)
    largest = max(models, key=lambda model: count(model)["delta"])
    _, size, what = layout_of(recipe, models, [frames_of(row, backbone) for row in data.all])
    sizes = {each.method: count(model)["delta"] for each, model in zip(single(recipe), models, strict=True)}
    return Plan(
        family=backbone.family.name,
        features=str(features_of(recipe, methods.parse(single(recipe)[models.index(largest)].method))),
        clips={split: len(part) for split, part in data.rows.items()},
        hours={split: sum(map(seconds, part)) / 3600 for split, part in data.rows.items()},
        outputs=len(data.vocabulary),
        parameters=count(largest),
        candidates=sizes if recipe.search.candidates else {},
        cache=what,
        cache_bytes=size,
        steps=_steps(recipe, data.rows["train"]),
        memory_bytes=_memory(recipe, largest),
        effort=replace(
            _effort(recipe, largest, data, what if size else ""), before=_before(recipe, backbone, task, data)
        ),
        notes=notes_on(recipe),
    )


def parts(source: str, method: str) -> Parts:
    """Returns what a method trains on a backbone by role, with the network on the meta device; reads no weights."""
    table, core, sites = backbones.bare_outline(source)
    own = sum(tensor.numel() for tensor in core.parameters())
    chosen = methods.parse(method)
    with torch.device("meta"):
        terms = methods.plan(chosen, sites)
        delta = Delta(core, terms, table.unused)
    found: dict[tuple[str, str], tuple[int, int]] = {}
    counted: set[int] = set()
    for name, edit in ((term.name, edit) for term in terms for edit in term.edits):
        tensors = delta.freed.values() if edit.module is None else edit.module.parameters()
        new = {id(tensor): tensor.numel() for tensor in tensors if id(tensor) not in counted}
        elsewhere = "everything" if edit.module is None else "beside the network"
        role = edit.site.role.partition(".")[0] if edit.site else elsewhere
        edits, numbers = found.get((name, role), (0, 0))
        found[name, role] = edits + 1, numbers + sum(new.values())
        counted |= new.keys()
    weighted = isinstance(table, Family) and any(each.features == "weighted" for each in chosen)
    layers = delta.side.count if delta.side else sites.depth + 1
    return Parts(
        table.name, own, tuple(Part(*key, *counts) for key, counts in found.items()), layers if weighted else 0
    )


def _steps(recipe: Recipe, rows: Sequence[Row]) -> int:
    train = recipe.train
    heard = drawn(rows, tasks.build(recipe.task), train, recipe.seeds[0], 0)
    batches = len(shuffled(heard, train.batch_seconds, train.batch_clips, recipe.seeds[0], 0))
    return train.steps or train.epochs * math.ceil(batches / train.accumulate)


def _memory(recipe: Recipe, model: Tuned) -> int:
    """Weights, four numbers a trained one, and activations: of all trained blocks, or one block's and all inputs."""
    sizes, backbone = count(model), model.backbone
    item = 2 if backbone.precision == "bf16" else 4
    trained = sizes["delta"] + sizes["layers"] + sizes["head"]
    lowest = backbone.depth if model.delta.lowest is None else max(model.delta.lowest, 0)
    frames = recipe.train.batch_seconds * backbone.rate / (backbone.hop or 160)
    taught = backbone.depth - lowest
    widths = _WIDTHS + taught if recipe.train.checkpointing else _WIDTHS * taught
    kept = frames * backbone.width * item * widths
    return int(sizes["backbone"] * item + trained * 16 + kept)


def _effort(recipe: Recipe, model: Tuned, data: Data, cached: str) -> Effort:
    train, steps, sizes = recipe.train, _steps(recipe, data.rows["train"]), count(model)
    clips = {split: sum(map(seconds, rows)) for split, rows in data.rows.items()}
    heard = train.steps * train.batch_seconds * train.accumulate or train.epochs * clips["train"]
    looks = -(-steps // train.validate_steps) if train.validate_steps else train.epochs / train.validate_epochs
    lowest, depth = model.delta.lowest, model.backbone.depth
    frozen = depth if lowest is None else max(lowest, 0)
    return Effort(
        heard=heard * _turns(recipe),
        looked=looks * clips["valid"] + clips["valid"] + clips["test"],
        filled=sum(clips.values()) if cached else 0.0,
        steps=steps,
        frozen=frozen,
        taught=depth - frozen,
        stem=lowest == -1,
        means=cached.startswith("means"),
        share=min(sizes["delta"] / sizes["backbone"], 1.0),
        beside=model.delta.side is not None,
        limit=60 * recipe.search.minutes,
    )


def _check_rungs(search: Search, task: Task) -> None:
    if search.clips and search.observe == "dev" and isinstance(task, Pairs) and task.pairs:
        raise RecipeError(
            f"search.clips={search.clips}: the task scores pairs of clips, and few clips have few of them; take 0 for "
            'all, or observe="dev_loss"'
        )


def _before(recipe: Recipe, backbone: Network, task: Task, data: Data) -> Effort | None:
    """Returns what it takes to train the head alone, where the recipe wants that."""
    if not recipe.train.head_epochs:
        return None
    first = headstart.alone(recipe)
    with torch.device("meta"):
        model = without_method(first, backbone, task, data.vocabulary)
    model.delta.detach()
    _, size, what = layout_of(first, [model], [frames_of(row, backbone) for row in data.all])
    return _effort(first, model, data, what if size else "")


def _turns(recipe: Recipe) -> float:
    """Returns how many trainings a search takes: all candidates up to the first rung, half of them to the next …"""
    search = recipe.search
    left, before, turns = len(search.candidates) * len(search.rates), 0.0, 0.0
    for rung in search.rungs if left else ():
        turns, before = turns + left * (rung - before), rung
        left = math.ceil(left / 2)
    return turns + 1 - before
