"""Matrix: backbones × methods × tasks × seeds × rates as one TOML file; a suite is one without backbones or methods."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final, Literal

import tomlkit

from pegbox import recipe as recipe_
from pegbox import registry
from pegbox.bench.recorded import Place
from pegbox.bench.settings import built, distinct
from pegbox.errors import RecipeError, nearest
from pegbox.recipe import Recipe

DATA: Final = "{data}"
SUITES: Final = Path(__file__).parent / "suites"


@dataclass(frozen=True)
class Entry:
    """One task of a matrix: a short name, and the part of a recipe that belongs to it."""

    name: str
    task: str
    corpus: str
    methods: tuple[str, ...] = ()  # in place of the matrix's
    features: str | int = "auto"
    seeds: tuple[int, ...] = ()  # in place of the matrix's
    folds: tuple[int, ...] = ()
    gain: float = 0.0
    silence: float = 0.0
    train: dict[str, Any] = field(default_factory=dict)
    note: str = ""  # what the source does that a recipe cannot say


@dataclass(frozen=True)
class Override:
    """Settings for some of the runs: those that all given lists of patterns match."""

    methods: tuple[str, ...] = ("*",)
    tasks: tuple[str, ...] = ("*",)
    backbones: tuple[str, ...] = ("*",)
    train: dict[str, Any] = field(default_factory=dict)
    features: str | int = "auto"
    rates: tuple[float, ...] = ()

    def meets(self, task: str, backbone: str, method: str) -> bool:
        """Tells whether it concerns such runs; a union of methods is met by the name of any of its parts."""
        names = [method, *(call.name for call in registry.parse(method, "method"))]
        return (
            any(fnmatchcase(name, pattern) for name in names for pattern in self.methods)
            and any(fnmatchcase(task, pattern) for pattern in self.tasks)
            and any(fnmatchcase(backbone, pattern) for pattern in self.backbones)
        )


@dataclass(frozen=True)
class Matrix:
    """Everything that a comparison consists of. `rates`: multiples of each method's own rate; the one that is best on
    validation, with the first seed and fold, is used for all of them."""

    name: str
    about: str = ""
    backbones: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    tasks: tuple[Entry, ...] = ()
    seeds: tuple[int, ...] = (0,)
    rates: tuple[float, ...] = (1.0,)
    score: Literal["", "superb"] = ""  # how tasks are condensed into one number
    train: dict[str, Any] = field(default_factory=dict)
    cache: dict[str, Any] = field(default_factory=dict)
    overrides: tuple[Override, ...] = ()


@dataclass(frozen=True)
class Cell(Place):
    """One run of a matrix: where it stands, its recipe, and its identity, which no place on a disk changes."""

    recipe: Recipe
    identity: str

    @property
    def name(self) -> str:
        """The name of its folder: for people, and with the identity for good."""
        words = [self.task, Path(self.backbone).name, *(call.name for call in registry.parse(self.method, "method"))]
        trial = f"s{self.seed}" + ("" if self.fold is None else f"f{self.fold}")
        plain = "-".join(re.sub(r"[^\w.]+", "_", word)[:40] for word in words)
        return f"{plain[:110]}-{trial}-{self.identity}"

    @property
    def key(self) -> tuple[str, str, str]:
        """The group that it belongs to."""
        return self.task, self.backbone, self.method


@dataclass(frozen=True)
class Group:
    """All runs of one method on one task with one backbone: its rates are swept first, then all seeds and folds run."""

    matrix: Matrix
    entry: Entry
    backbone: str
    method: str
    data: str

    @property
    def key(self) -> tuple[str, str, str]:
        """What it stands for."""
        return self.entry.name, self.backbone, self.method

    @property
    def rates(self) -> tuple[float, ...]:
        """The rates to try; a single one needs no sweep."""
        found = [each.rates for each in self._overrides() if each.rates]
        return found[-1] if found else self.matrix.rates

    @property
    def trials(self) -> list[tuple[int, int | None]]:
        """Every seed and fold."""
        seeds = self.entry.seeds or self.matrix.seeds
        return [(seed, fold) for fold in (self.entry.folds or (None,)) for seed in seeds]

    @property
    def count(self) -> int:
        """How many runs it has in all; the one of the sweep that is chosen counts once."""
        return len(self.trials) + len(self.rates) - 1

    def sweep(self) -> list[Cell]:
        """Returns a run for each rate, of the first seed and fold; none where there is nothing to choose."""
        if len(self.rates) == 1:
            return []
        return [self.cell(*self.trials[0], rate) for rate in self.rates]

    def finals(self, rate: float) -> list[Cell]:
        """Returns the runs that count: every seed and fold at one rate."""
        return [self.cell(seed, fold, rate) for seed, fold in self.trials]

    def cell(self, seed: int, fold: int | None, rate: float) -> Cell:
        """Returns one run of it."""
        asked = self._recipe(seed, fold, rate)
        backbone, task, corpus = (_placed(text, self.data) for text in (asked.backbone, asked.task, asked.corpus))
        here = replace(asked, backbone=backbone, task=task, corpus=corpus)
        return Cell(self.matrix.name, self.entry.name, self.backbone, self.method, seed, fold, rate, here, asked.digest)

    def _overrides(self) -> list[Override]:
        return [each for each in self.matrix.overrides if each.meets(*self.key)]

    def _recipe(self, seed: int, fold: int | None, rate: float) -> Recipe:
        layers = [self.matrix.train, self.entry.train, *(each.train for each in self._overrides())]
        train = {key: value for layer in layers for key, value in layer.items()}
        features = [self.entry.features, *(each.features for each in self._overrides() if each.features != "auto")]
        return recipe_.make(
            {
                "backbone": self.backbone,
                "method": self.method,
                "task": self.entry.task,
                "corpus": self.entry.corpus,
                "features": features[-1],
                "seeds": [seed],
                "gain": self.entry.gain,
                "silence": self.entry.silence,
                "folds": [] if fold is None else [fold],
                "train": train | ({} if rate == 1 else {"rate": rate}),
                "cache": self.matrix.cache,
            }
        )


def settings(path: str | Path) -> dict[str, Any]:
    """Returns the settings of a TOML file or of a suite that comes with Pegbox, unchecked."""
    file = _find(path)
    if not file.exists():
        known = [each.stem for each in SUITES.glob("*.toml")]
        raise RecipeError(f"{path}: no such file, and no suite of that name{nearest(str(path), known)}")
    return recipe_.read(file)


def read(path: str | Path) -> Matrix:
    """Returns the matrix of a TOML file or of a suite that comes with Pegbox.

    Raises:
        RecipeError: for a file that is none, unknown keys, wrong types, or names that stand twice.
    """
    return make(settings(path))


def only(matrix: Matrix, tasks: Sequence[str]) -> Matrix:
    """Returns a matrix with some of its tasks, by their short names."""
    known = [entry.name for entry in matrix.tasks]
    for name in tasks:
        if name not in known:
            raise RecipeError(f"matrix '{matrix.name}': no task '{name}'{nearest(name, known)}")
    return replace(matrix, tasks=tuple(entry for entry in matrix.tasks if entry.name in tasks))


def under(matrix: Matrix, methods: Sequence[str]) -> Matrix:
    """Returns a matrix with these methods for every task, in place of all that the file names."""
    distinct("methods", methods)
    return replace(matrix, methods=tuple(methods), tasks=tuple(replace(each, methods=()) for each in matrix.tasks))


def dumps(matrix: Matrix) -> str:
    """Returns a matrix as TOML."""
    found = asdict(matrix)
    found["override"] = found.pop("overrides")
    return tomlkit.dumps(recipe_.plain(found))


def make(settings: Mapping[str, Any]) -> Matrix:
    """Returns the matrix of plain settings; every key and type is checked."""
    plain = {"overrides" if key == "override" else key: value for key, value in settings.items()}
    if "name" not in plain:
        raise RecipeError('matrix: it lacks a name; give one in the file: name = "…"')
    for key, kind in (("tasks", Entry), ("overrides", Override)):
        if not isinstance(plain.get(key, []), list | tuple):
            raise RecipeError(f"matrix: '{key}' is a list of tables, written as [[{key}]]")
        plain[key] = tuple(built(kind, each, f"{key}: ") for each in plain.get(key, []))
    matrix: Matrix = built(Matrix, plain, "")
    for axis in ("backbones", "methods", "seeds", "rates"):
        distinct(axis, getattr(matrix, axis))
    distinct("the tasks' names", [entry.name for entry in matrix.tasks])
    for entry in matrix.tasks:
        distinct(f"the methods of '{entry.name}'", entry.methods)
        distinct(f"the seeds of '{entry.name}'", entry.seeds)
    if not matrix.seeds or not matrix.rates or min(matrix.rates) <= 0:
        raise RecipeError("matrix: at least one seed, and rates above zero")
    return matrix


def groups(matrix: Matrix, data: str = "") -> list[Group]:
    """Returns every backbone × task × method; those that share backbone and corpus stand beside each other.

    Raises:
        RecipeError: where an axis is empty, a setting is wrong, or the place of the data is needed and not given.
    """
    for axis in ("backbones", "methods", "tasks"):
        each_has_some = axis == "methods" and matrix.tasks and all(entry.methods for entry in matrix.tasks)
        if not getattr(matrix, axis) and not each_has_some:
            flag = "" if axis == "tasks" else f", or --{axis[:-1]} SPEC on the command line"
            raise RecipeError(f"matrix '{matrix.name}': no {axis}; name some in the file{flag}")
    needy = [entry.name for entry in matrix.tasks if DATA in entry.corpus + entry.task]
    needy += [backbone for backbone in matrix.backbones if DATA in backbone]
    if needy and not data:
        raise RecipeError(f"matrix '{matrix.name}': {', '.join(needy)}: {DATA} is not known; say where with --data DIR")
    found = list(product(matrix, data))
    for each in found:
        each.cell(matrix.seeds[0], None, 1.0)  # whatever cannot be meant is said now
    return found


def product(matrix: Matrix, data: str = "") -> Iterator[Group]:
    """Yields the same unchecked; without the place of the data its runs have their names and identities."""
    for backbone in matrix.backbones:
        for entry in sorted(matrix.tasks, key=lambda each: matrix.tasks.index(_first_of(matrix.tasks, each.corpus))):
            for method in entry.methods or matrix.methods:
                yield Group(matrix, entry, backbone, method, data)


def _first_of(entries: Sequence[Entry], corpus: str) -> Entry:
    return next(entry for entry in entries if entry.corpus == corpus)


def _placed(text: str, data: str) -> str:
    return text.replace(DATA, Path(data).as_posix().replace("\\", "\\\\").replace('"', '\\"')) if data else text


def _find(path: str | Path) -> Path:
    shipped = SUITES / f"{path}.toml"
    return shipped if not Path(path).exists() and shipped.exists() else Path(path)
