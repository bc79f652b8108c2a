"""Recorded runs: every finished trial below some folders with its place in the matrix, and the runs that failed."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from pegbox import recipe as recipe_
from pegbox import registry
from pegbox.errors import RecipeError

CELL: Final = "cell.json"
ERROR: Final = "error.json"
_PLACES: Final = ("root", "path", "folder")  # options of a corpus that say where it lies, not what it is
_NEEDED: Final = ("metric", "better", "scores", "parameters", "seconds")


@dataclass(frozen=True)
class Cell:
    """Where a run stands in its matrix."""

    suite: str
    task: str
    backbone: str
    method: str
    seed: int
    fold: int | None
    rate: float
    role: Literal["sweep", "final"]


@dataclass(frozen=True)
class Recorded:
    """One finished trial: its folder, place, settings and result. `name` is its path below the folder given."""

    folder: Path
    name: str
    cell: Cell
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
class Failed:
    """A run that ended with an error, or whose folder cannot be read."""

    name: str
    cell: Cell | None
    kind: str
    message: str


@dataclass(frozen=True)
class Collection:
    """All that was found below some folders."""

    runs: tuple[Recorded, ...]
    failed: tuple[Failed, ...]


def collect(places: Sequence[Path]) -> Collection:
    """Returns every finished trial below these folders, by name, and every one that failed.

    Raises:
        RecipeError: a folder that is not there, or nothing to report in any of them.
    """
    found: dict[Path, Recorded | Failed] = {}
    for place in places:
        if not place.is_dir():
            raise RecipeError(f"{place}: no such folder; give a run's, or one with runs below it")
        for path in sorted([*place.rglob("result.json"), *place.rglob(ERROR)]):
            folder = path.parent
            if folder.resolve() not in found and not (path.name == ERROR and (folder / "result.json").exists()):
                read = _read(folder, _name(folder, place, len(places) > 1))
                found |= {folder.resolve(): read} if read else {}
    if not found:
        told = ", ".join(map(str, places))
        raise RecipeError(f"{told}: no result.json or {ERROR} below; train something, or give another folder")
    runs = tuple(each for each in found.values() if isinstance(each, Recorded))
    return Collection(runs, tuple(each for each in found.values() if isinstance(each, Failed)))


def predictions(run: Recorded) -> list[dict[str, Any]] | None:
    """Returns the rows of the split that is compared; None where they are missing or not as many as the clips."""
    path, count = run.folder / "predictions.jsonl", int(run.result.get("clips", {}).get(run.split, 0))
    if not path.is_file() or not count:
        return None
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    said = sum(run.result["clips"][split] for split in ("valid", "test") if split in run.result["scores"])
    try:
        return [json.loads(line) for line in lines[-count:]] if len(lines) == said else None
    except ValueError:
        return None


def number(value: Any) -> float:
    """Returns a recorded score; what JSON has no number for is not a number."""
    return float(value) if isinstance(value, int | float) else float("nan")


def _name(folder: Path, place: Path, several: bool) -> str:
    inner = folder.relative_to(place)
    return (Path(place.name) / inner if several or inner == Path() else inner).as_posix()


def _read(folder: Path, name: str) -> Recorded | Failed | None:
    """Returns a trial, a failure, or None for the summary of several trials."""
    try:
        place = _json(folder / CELL) if (folder / CELL).exists() else None
        cell = None if place is None else _cell(place)
        if not (folder / "result.json").exists():
            told = _json(folder / ERROR)
            return Failed(name, cell, str(told.get("kind", "error")), str(told.get("message", "")))
        result = _json(folder / "result.json")
        if "trials" in result:
            return None
        _check(result)
        text = (folder / "recipe.toml").read_text(encoding="utf-8")
        settings = recipe_.read(folder / "recipe.toml")
        return Recorded(folder, name, cell or _derived(settings, result), text, settings, result)
    except FileNotFoundError as problem:
        return Failed(name, None, "incomplete", f"{Path(problem.filename).name} is missing")
    except (OSError, ValueError, KeyError, TypeError, RecipeError) as problem:
        return Failed(name, None, "unreadable", str(problem))


def _json(path: Path) -> dict[str, Any]:
    found = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise ValueError(f"{path.name} holds no object")
    return found


def _check(result: Mapping[str, Any]) -> None:
    missing = [name for name in _NEEDED if name not in result]
    if missing:
        raise ValueError(f"result.json lacks {', '.join(missing)}")
    scores = result["scores"]
    if not any(result["metric"] in scores.get(split, {}) for split in ("test", "valid")):
        raise ValueError(f"result.json has no score '{result['metric']}'")


def _cell(told: Mapping[str, Any]) -> Cell:
    fold = told.get("fold")
    return Cell(
        suite=str(told.get("suite", "")),
        task=str(told["task"]),
        backbone=_last(str(told["backbone"])),
        method=str(told["method"]),
        seed=int(told.get("seed", 0)),
        fold=None if fold is None else int(fold),
        rate=float(told.get("rate", 1.0)),
        role="sweep" if told.get("role") == "sweep" else "final",
    )


def _derived(settings: Mapping[str, Any], result: Mapping[str, Any]) -> Cell:
    """Returns the place of a run that no matrix made, from what it was told to do."""
    candidates = settings.get("search", {}).get("candidates", ())
    told = {
        "task": f"{_short(settings['task'])} · {_short(settings['corpus'])}",
        "backbone": settings["backbone"],
        "method": settings["method"] or "search: " + " | ".join(candidates),
        "seed": result.get("seed", 0),
        "fold": result.get("fold"),
    }
    return _cell(told)


def _short(spec: str) -> str:
    calls = registry.parse(spec)
    return " + ".join(_plain(call) for call in calls)


def _plain(call: registry.Call) -> str:
    told = [f"{value}" for key, value in _told(call)]
    return f"{call.name}({', '.join(told)})" if told else call.name


def _told(call: registry.Call) -> Iterator[tuple[str, Any]]:
    return ((key, value) for key, value in call.options if key not in _PLACES)


def _last(source: str) -> str:
    """Returns a hub id as it is, and of a path on some machine the last part."""
    path = Path(source)
    return path.name if path.is_absolute() or source.startswith(".") or len(path.parts) > 2 else source
