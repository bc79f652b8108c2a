"""One trial: a recipe with one seed and one fold, from audio to a folder that predicts by itself."""

import json
import platform
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from accelerate import Accelerator

from pegbox import backbones, methods, tasks
from pegbox.backbones import Backbone
from pegbox.errors import PegboxError, RecipeError
from pegbox.places import cache_folder
from pegbox.recipe import Recipe, dumps
from pegbox.surgery import save_tensors
from pegbox.tasks import Prediction
from pegbox.training import checkpoint
from pegbox.training.cache import StateCache
from pegbox.training.feed import Feed
from pegbox.training.loop import Event, Step, Stopped, Trainer, Validated
from pegbox.training.model import Tuned
from pegbox.training.prepare import (
    Data,
    assemble,
    corpus_digest,
    corpus_rows,
    count,
    data_of,
    features_of,
    frames_of,
    frozen_precision,
    layout_of,
)
from pegbox.training.trials import paired, trials_of

STATE: Final = "state.safetensors"
ARTEFACT: Final = "delta.safetensors"


@dataclass(frozen=True)
class Started:
    """A trial begins: its counts and what will be cached."""

    seed: int
    fold: int | None
    parameters: dict[str, int]
    clips: dict[str, int]
    cache: str
    cache_bytes: int
    resumed_at: int


@dataclass(frozen=True)
class Cached:
    """The frozen part of some clips has been computed."""

    done: int
    total: int


@dataclass(frozen=True)
class Finished:
    """A trial is over; `result` is what its `result.json` holds."""

    result: dict[str, Any]


AnyEvent = Event | Started | Cached | Finished


class Session:
    """What consecutive trials share: rows, task and one loaded backbone."""

    def __init__(self, recipe: Recipe) -> None:
        started = time.perf_counter()
        self.recipe = recipe
        self.task = tasks.build(recipe.task)
        self.accelerator = Accelerator()
        if self.accelerator.num_processes > 1:  # each would train a model of its own, silently
            raise RecipeError("one run over several processes is not supported yet; start it without a launcher")
        self.backbone: Backbone = backbones.load(recipe.backbone, frozen_precision(recipe))
        self.backbone.to(self.accelerator.device)
        self._seconds = time.perf_counter() - started

    def loading_seconds(self) -> float:
        """Returns what loading took, counted with the first trial that asks."""
        seconds, self._seconds = self._seconds, 0.0
        return seconds

    def data(self, fold: int | None) -> Data:
        """Returns the rows of one trial."""
        return data_of(corpus_rows(self.recipe, fold), self.task, self.backbone)


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
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started


def run_trial(session: Session, seed: int, fold: int | None, folder: Path) -> Iterator[AnyEvent]:
    """Trains one trial into a folder, resuming what an interruption left there; yields what happens."""
    clock = Clock()
    with clock.phase("prepare"):
        data = session.data(fold)
        torch.manual_seed(seed)
        model = assemble(session.recipe, session.backbone, session.task, data.vocabulary)
        model.to(session.accelerator.device)
    try:
        yield from _run(session, model, data, (seed, fold), folder, clock)
    finally:
        model.delta.detach()


def _run(
    session: Session, model: Tuned, data: Data, trial: tuple[int, int | None], folder: Path, clock: Clock
) -> Iterator[AnyEvent]:
    recipe, (seed, fold) = session.recipe, trial
    frames = [frames_of(row, session.backbone) for row in data.all]
    layout, size, what = layout_of(recipe, model, frames)
    place = Path(recipe.cache.folder or cache_folder())
    cache = StateCache(place, session.backbone, layout) if layout else None
    trainer = Trainer(
        model, Feed(session.backbone, cache), methods.parse(recipe.method), recipe.train, seed, session.accelerator
    )
    state = folder / STATE
    if state.exists():
        checkpoint.restore(trainer, state)
    clips = {split: len(part) for split, part in data.rows.items()}
    yield Started(seed, fold, count(model), clips, what, size, trainer.progress.step)
    if cache:
        missing = cache.missing(data.all)
        cache.check_room(sum(cache.layout.size(frames_of(row, session.backbone)) for row in missing))
        with clock.phase("cache"):
            for done in cache.fill(missing):
                yield Cached(done, len(missing))
    stopped = Stopped(0, 0, "")
    with _one_thread(layout is not None and layout.kind == "pooled"):
        for event in trainer.events(data.rows["train"], data.rows["valid"]):
            stopped = _note(event, clock, stopped)
            if isinstance(event, Validated):
                checkpoint.save(trainer, state)
            yield event
    with clock.phase("test"):
        trainer.tune(data.rows["valid"])
        said = {split: trainer.evaluate(data.rows[split]) for split in ("valid", "test") if data.rows[split]}
    trials = trials_of(recipe, model.task)
    said = {split: paired(rows, trials) for split, rows in said.items()}
    result = _result(session, model, trial, said, stopped, clock) | {
        "clips": clips,
        "corpus": corpus_digest(data.all),
        "cache": what,
        "cache_bytes": size,
        "chosen": {name: value for name, value in model.chosen.items() if isinstance(value, int | float | str)},
    }
    yield Finished(write(folder, session, model, result, said))


def write(
    folder: Path, session: Session, model: Tuned, result: dict[str, Any], said: dict[str, list[Prediction]]
) -> dict[str, Any]:
    """Writes a trial's folder, `result.json` last, and drops the state that only a resume needs."""
    recipe, backbone = session.recipe, session.backbone
    about = {
        "backbone": {
            "source": recipe.backbone,
            "resolved": str(Path(recipe.backbone).resolve()) if Path(recipe.backbone).exists() else recipe.backbone,
            "digest": backbone.digest,
            "precision": backbone.precision,
        },
        "method": recipe.method,
        "task": recipe.task,
        "vocabulary": list(model.vocabulary),
        "chosen": model.chosen,
        "features": features_of(recipe, methods.parse(recipe.method)),
    }
    tensors = model.tensors()
    save_tensors(folder / ARTEFACT, tensors, about)
    rows = [row for part in said.values() for row in part]
    put(folder / "predictions.jsonl", "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    put(folder / "recipe.toml", dumps(recipe))
    put(folder / "env.json", json.dumps(environment(session), indent=1))
    result = result | {"artefact_bytes": (folder / ARTEFACT).stat().st_size}
    put(folder / "result.json", json.dumps(result, indent=1))
    (folder / STATE).unlink(missing_ok=True)
    return result


def put(path: Path, text: str) -> None:
    """Writes a text file whole or not at all."""
    part = path.with_name(path.name + ".part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError as problem:
        part.unlink(missing_ok=True)
        raise PegboxError(f"{path}: cannot be written ({problem.strerror}); make room, then go on") from problem


def environment(session: Session) -> dict[str, Any]:
    """Returns what the numbers were computed with."""
    from importlib.metadata import version

    names = ("pegbox", "torch", "transformers", "accelerate", "numpy", "soundfile", "soxr", "jiwer", "scikit-learn")
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "device": str(session.accelerator.device),
        "threads": torch.get_num_threads(),
        "packages": {name: version(name) for name in names},
    }


@contextmanager
def _one_thread(active: bool) -> Iterator[None]:
    """Steps on pooled features are so small that threads wait for each other longer than they work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1 if active else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _note(event: Event, clock: Clock, stopped: Stopped) -> Stopped:
    if isinstance(event, Step | Validated):
        phase = "train" if isinstance(event, Step) else "validate"
        clock.seconds[phase] = clock.seconds.get(phase, 0.0) + event.wall_seconds
        return stopped
    return event


def _result(
    session: Session,
    model: Tuned,
    trial: tuple[int, int | None],
    said: dict[str, list[Prediction]],
    stopped: Stopped,
    clock: Clock,
) -> dict[str, Any]:
    sizes = count(model)
    return {
        "recipe": session.recipe.digest,
        "seed": trial[0],
        "fold": trial[1],
        "metric": session.task.metric,
        "better": session.task.better,
        "scores": {split: session.task.score(rows) for split, rows in said.items()},
        "parameters": sizes | {"share": sizes["delta"] / sizes["backbone"]},
        "outputs": len(model.vocabulary),
        "steps": stopped.step,
        "best_step": stopped.best_step,
        "stopped": stopped.reason,
        "seconds": {"load": session.loading_seconds(), **clock.seconds},
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "backbone": session.backbone.digest,
    }
