"""Recorded runs: every finished trial below some folders, the runs that failed, and those that a matrix there lacks."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pegbox.bench.planned import Planned, planned
from pegbox.bench.recorded import ERROR, MATRIX, RESULT, STATUS, Recorded, load, read_json
from pegbox.errors import PegboxError, RecipeError


@dataclass(frozen=True)
class Failed:
    """A run that ended with an error, or a folder that cannot be read."""

    name: str
    kind: str
    message: str


@dataclass(frozen=True)
class Collection:
    """All that was found below some folders."""

    runs: tuple[Recorded, ...]
    failed: tuple[Failed, ...]
    planned: tuple[Planned, ...]

    @property
    def counts(self) -> dict[str, int]:
        """How many runs are how far, and how many combinations cannot be."""
        told = {state: sum(each.state == state for each in self.planned) for state in ("running", "waiting", "skipped")}
        return {"done": len(self.runs), "failed": len(self.failed), **told}


def collect(places: Sequence[Path]) -> Collection:
    """Returns every finished trial below these folders, by name, every one that failed, and what matrices lack.

    Raises:
        RecipeError: a folder that is not there, or nothing to report in any of them.
    """
    found: dict[Path, Recorded | Failed] = {}
    lacking: dict[Path, list[Planned]] = {}
    for place in places:
        if not place.is_dir():
            raise RecipeError(f"{place}: no such folder; give a run's, or one with runs below it")
        for folder in _folders(place, RESULT, ERROR):
            if folder.resolve() not in found:
                read = _read(folder, _name(folder, place, len(places) > 1))
                found |= {folder.resolve(): read} if read else {}
        for out in (folder for folder in _folders(place, STATUS) if (folder / MATRIX).exists()):
            try:
                lacking[out.resolve()] = planned(out)
            except PegboxError as problem:
                found[out.resolve()] = Failed(_name(out / MATRIX, place, len(places) > 1), "unreadable", str(problem))
    if not found and not any(lacking.values()):
        told = ", ".join(map(str, places))
        raise RecipeError(f"{told}: no {RESULT} or {ERROR} below; train something, or give another folder")
    runs = tuple(each for each in found.values() if isinstance(each, Recorded))
    failed = tuple(each for each in found.values() if isinstance(each, Failed))
    return Collection(runs, failed, tuple(each for part in lacking.values() for each in part))


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


def _folders(place: Path, *names: str) -> Iterator[Path]:
    """Yields each folder below a place that holds one of these files."""
    return iter(dict.fromkeys(path.parent for path in sorted(file for name in names for file in place.rglob(name))))


def _name(folder: Path, place: Path, several: bool) -> str:
    inner = folder.relative_to(place)
    return (Path(place.name) / inner if several or inner == Path() else inner).as_posix()


def _read(folder: Path, name: str) -> Recorded | Failed | None:
    """Returns a trial, a failure, or None for the summary of several trials."""
    try:
        if not (folder / RESULT).exists():
            told: Mapping[str, Any] = read_json(folder / ERROR)
            return Failed(name, str(told.get("kind", "error")), str(told.get("message", "")))
        return load(folder, name)
    except FileNotFoundError as problem:
        return Failed(name, "incomplete", f"{Path(problem.filename).name} is missing")
    except (OSError, PegboxError) as problem:
        return Failed(name, "unreadable", str(problem))
