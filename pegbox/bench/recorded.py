"""What a matrix and its runs leave on disk: file names, a run's place, how far it has come, its result; no torch."""

from __future__ import annotations

import fcntl
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any, Final, Literal

from pegbox import recipe as recipe_
from pegbox import registry
from pegbox.errors import PegboxError

if TYPE_CHECKING:
    from pegbox.bench.statistics import Interval

State = Literal["done", "failed", "begun", "missing"]
Role = Literal["sweep", "final"]
MATRIX: Final = "matrix.toml"
STATUS: Final = "status.json"
CELL: Final = "cell.json"
ERROR: Final = "error.json"
RECIPE: Final = "recipe.toml"
RESULT: Final = "result.json"
_PATHS: Final = ("root", "path", "folder", "verifier", "transcriber")  # options that say where something lies
_NEEDED: Final = ("metric", "better", "scores", "parameters", "seconds")


@dataclass(frozen=True)
class Place:
    """Where a run stands in its matrix, as `cell.json` says; results are joined on it."""

    suite: str
    task: str
    backbone: str
    method: str
    seed: int
    fold: int | None
    rate: float

    @property
    def fields(self) -> dict[str, Any]:
        """All of it by name."""
        return {each.name: getattr(self, each.name) for each in fields(Place)}

    @property
    def told(self) -> str:
        """What a person calls it."""
        fold = "" if self.fold is None else f", fold {self.fold}"
        return f"{self.task}: {self.method} on {self.backbone}, seed {self.seed}{fold}"


@dataclass(frozen=True)
class Recorded:
    """One finished trial: its folder, place, settings and result. `name` is its path below the folder given."""

    folder: Path
    name: str
    cell: Place
    role: Role  # whether it counts or only chose a rate
    recipe: str
    settings: Mapping[str, Any]
    result: Mapping[str, Any]

    @property
    def metric(self) -> str:
        """The score that is compared."""
        return str(self.result["metric"])

    @property
    def better(self) -> Literal["max", "min"]:
        """Which direction of it is better."""
        return "min" if self.result["better"] == "min" else "max"

    @property
    def split(self) -> str:
        """The split that is compared: the test part, or where a corpus has none the validation part."""
        return "test" if "test" in self.result["scores"] else "valid"

    @property
    def scores(self) -> dict[str, float]:
        """All scores on that split."""
        return {name: number(value) for name, value in self.result["scores"][self.split].items()}

    @property
    def score(self) -> float:
        """The score on that split."""
        return number(self.result["scores"][self.split][self.metric])

    @property
    def trained(self) -> int:
        """How many numbers the method trains in the backbone."""
        return int(self.result["parameters"]["delta"])

    @property
    def wall(self) -> float:
        """Seconds of the whole trial."""
        return float(sum(self.result["seconds"].values()))


@dataclass(frozen=True)
class Score:
    """One field of a table: all runs that count of one method on one task with one backbone, and their mean."""

    runs: tuple[Recorded, ...]
    interval: Interval | None = None

    @property
    def mean(self) -> float:
        """Mean score over the runs."""
        return fmean(run.score for run in self.runs)

    @property
    def deviation(self) -> float | None:
        """Standard deviation over the runs; of one run there is none."""
        scores = [run.score for run in self.runs]
        return stdev(scores) if len(scores) > 1 and all(map(math.isfinite, scores)) else None


def state(folder: Path) -> State:
    """Returns how far the run in a folder has come."""
    if (folder / RESULT).exists():
        return "done"
    if (folder / ERROR).exists():
        return "failed"
    return "begun" if folder.exists() else "missing"


def run_of(out: Path, name: str) -> Path:
    """Returns the folder of a run in that of its matrix."""
    return out / "runs" / name


def lock_of(out: Path, identity: str) -> Path:
    """Returns the file that whoever works on a run holds a lock on."""
    return out / "locks" / f"{identity}.lock"


def held(out: Path, identity: str) -> bool:
    """Tells whether somebody works on a run; needs no right to write there."""
    try:
        file = lock_of(out, identity).open("rb")
    except FileNotFoundError:
        return False
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # what the library that locks takes, too
        except BlockingIOError:
            return True
    return False


def place_of(told: Mapping[str, Any]) -> Place:
    """Returns the place that `cell.json` tells; of a backbone that lies on some machine the name alone."""
    fold = told.get("fold")
    return Place(
        suite=str(told.get("suite", "")),
        task=str(told["task"]),
        backbone=_last(str(told["backbone"])),
        method=str(told["method"]),
        seed=int(told.get("seed", 0)),
        fold=None if fold is None else int(fold),
        rate=float(told.get("rate", 1.0)),
    )


def role_of(told: Mapping[str, Any]) -> Role:
    """Returns the role that `cell.json` tells."""
    return "sweep" if told.get("role") == "sweep" else "final"


def load(folder: Path, name: str) -> Recorded | None:
    """Returns the finished trial in a folder; None where it is the summary of several.

    Raises:
        FileNotFoundError: its recipe is missing.
        PegboxError: something in it cannot be read.
    """
    result = read_json(folder / RESULT)
    if "trials" in result:
        return None
    try:
        _check(result)
        text = (folder / RECIPE).read_text(encoding="utf-8")
        settings = recipe_.read(folder / RECIPE)
        told = read_json(folder / CELL) if (folder / CELL).exists() else _derived(settings, result)
        cell, role = place_of(told), role_of(told)
    except (ValueError, KeyError, TypeError) as problem:
        raise PegboxError(f"{folder} is no run as Pegbox writes it: {problem}; remove it to run it again") from None
    return Recorded(folder, name, cell, role, text, settings, result)


def read_json(path: Path) -> dict[str, Any]:
    """Returns the object that a JSON file holds.

    Raises:
        PegboxError: when it is not readable.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError("it holds no object")
    except (OSError, ValueError) as problem:
        raise PegboxError(f"{path} cannot be read: {problem}; remove its folder to run it again") from None
    return found


def number(value: Any) -> float:
    """Returns a recorded score; what JSON has no number for is not a number."""
    return float(value) if isinstance(value, int | float) else float("nan")


def _check(result: Mapping[str, Any]) -> None:
    missing = [name for name in _NEEDED if name not in result]
    if missing:
        raise ValueError(f"{RESULT} lacks {', '.join(missing)}")
    scores = result["scores"]
    if not any(result["metric"] in scores.get(split, {}) for split in ("test", "valid")):
        raise ValueError(f"{RESULT} has no score '{result['metric']}'")


def _derived(settings: Mapping[str, Any], result: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the place of a run that no matrix made, from what it was told to do."""
    candidates = settings.get("search", {}).get("candidates", ())
    return {
        "task": f"{_short(settings['task'])} · {_short(settings['corpus'])}",
        "backbone": settings["backbone"],
        "method": settings["method"] or "search: " + " | ".join(candidates),
        "seed": result.get("seed", 0),
        "fold": result.get("fold"),
    }


def _short(spec: str) -> str:
    return " + ".join(_plain(call) for call in registry.parse(spec))


def _plain(call: registry.Call) -> str:
    told = [f"{value}" for key, value in _told(call)]
    return f"{call.name}({', '.join(told)})" if told else call.name


def _told(call: registry.Call) -> Iterator[tuple[str, Any]]:
    return ((key, value) for key, value in call.options if key not in _PATHS)


def _last(source: str) -> str:
    """Returns a hub id as it is, and of a path on some machine the last part."""
    path = Path(source)
    return path.name if path.is_absolute() or source.startswith(".") or len(path.parts) > 2 else source
