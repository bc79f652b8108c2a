"""What consecutive trials share: rows, task and one loaded backbone; and the seconds that a trial takes."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from pegbox import backbones, tasks
from pegbox.backbones import Network, Precision, Speaker
from pegbox.recipe import Recipe
from pegbox.training.aligned import aligned
from pegbox.training.candidates import resolve
from pegbox.training.crew import Crew, accelerator
from pegbox.training.model import Tuned
from pegbox.training.prepare import (
    Choices,
    Data,
    assemble,
    corpus_rows,
    cut_folder,
    data_of,
    frozen_precision,
    heard,
    loader,
)
from pegbox.training.speaking import found_of


class Shelf:
    """Keeps the backbone that was loaded last, for consecutive recipes in one process.

    `take` hands it out and `put` takes it back; one that nobody puts back, since a run failed, is loaded anew.
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[object, ...], tuple[Network, str]] = {}  # with what its weights were when loaded
        self._out: dict[int, tuple[tuple[object, ...], str]] = {}

    def take(
        self, source: str, precision: Precision, load: Callable[[str, Precision], Network] = backbones.load
    ) -> Network:
        """Returns the backbone of this source and precision, loading it where another one or none was kept."""
        key = (source, precision, *_files(source))
        found = self._kept.pop(key, None)
        self._kept.clear()  # before the next one is loaded: two may not fit into memory
        self._out.clear()
        if found is None:
            backbone = load(source, precision)
            found = backbone, backbone.fingerprint()
        self._out[id(found[0])] = key, found[1]
        return found[0]

    def put(self, backbone: Network) -> None:
        """Takes back what `take` gave; one of which any weight has changed is dropped, and loaded anew next time."""
        key, fingerprint = self._out.pop(id(backbone), ((), ""))
        if key and backbone.fingerprint() == fingerprint:
            self._kept[key] = backbone, fingerprint


class Session:
    """One recipe's rows, task and loaded backbone, which is the shelf's where there is one until `leave`."""

    def __init__(self, recipe: Recipe, shelf: Shelf | None = None) -> None:
        started = time.perf_counter()
        self.asked, self.recipe = recipe, resolve(recipe)
        self.task = tasks.build(recipe.task)
        self.accelerator = accelerator()
        self.crew = Crew(self.accelerator)
        self._shelf, load = shelf, loader(self.task)
        where = (recipe.backbone, frozen_precision(self.recipe))
        self.backbone: Network = shelf.take(*where, load) if shelf else load(*where)
        self.backbone.to(self.accelerator.device)
        self._seconds = time.perf_counter() - started

    def loading_seconds(self) -> float:
        """Returns what loading took, counted with the first trial that asks."""
        seconds, self._seconds = self._seconds, 0.0
        return seconds

    def leave(self) -> None:
        """Puts the backbone back, once nothing is attached to it any more."""
        if self._shelf:
            self._shelf.put(self.backbone)

    def data(self, fold: int | None) -> Data:
        """Returns the rows of one trial; nothing may be attached to the backbone, which may have to align them."""
        cache = self.recipe.cache.folder
        rows = heard(corpus_rows(self.recipe, fold), self.recipe, cut_folder(cache))
        if isinstance(self.backbone, Speaker):
            rows = aligned(rows, self.backbone, self.task, cache)
        data = data_of(rows, self.task, self.backbone, self.recipe.train.longer_than)
        if isinstance(self.backbone, Speaker):
            data = replace(data, found=found_of(self.backbone, self.task, data.rows["train"]))
        return data

    def model(self, recipe: Recipe, data: Data, seed: int, choices: Choices | None) -> Tuned:
        """Returns a fresh model of a recipe with one method, its numbers drawn from the seed."""
        torch.manual_seed(seed)
        model = assemble(recipe, self.backbone, self.task, data.vocabulary, choices)
        if data.found:
            model.choose(data.found)
        return model.to(self.accelerator.device)


class Clock:
    """Seconds by phase."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Adds the time of a block to a phase."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.add(name, time.perf_counter() - started)

    def add(self, name: str, seconds: float) -> None:
        """Adds seconds to a phase."""
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Computes with so many threads inside it."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _files(source: str) -> list[tuple[str, int, int]]:
    """Returns name, size and time of a local checkpoint's files: other weights at the same place are others."""
    place = Path(source)
    files = sorted(each for each in place.iterdir() if each.is_file()) if place.is_dir() else [place]
    known = [(each.name, each.stat()) for each in files if each.exists()]
    return [(name, found.st_size, found.st_mtime_ns) for name, found in known]
