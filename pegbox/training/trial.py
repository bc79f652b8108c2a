"""One trial: a recipe with one seed and one fold, from audio to a folder that predicts by itself."""

import json
import platform
import resource
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import soundfile
import torch

from pegbox import methods
from pegbox.errors import CorpusError
from pegbox.places import samples
from pegbox.recipe import dumps
from pegbox.rows import Row
from pegbox.surgery import put, save_tensors
from pegbox.tasks import Peeks, Prediction, Writes
from pegbox.training.beside import Beside
from pegbox.training.contest import Contest
from pegbox.training.entrant import Judged, Tried
from pegbox.training.feed import HELD_BYTES, Feed
from pegbox.training.filling import Cached, cache_of, fill, threads_for
from pegbox.training.headstart import Headed, HeadStart
from pegbox.training.kept import ARTEFACT
from pegbox.training.layouts import shared_depths
from pegbox.training.loop import Event, Step, Stopped, Validated
from pegbox.training.prepare import corpus_digest, count, features_of, notes_on
from pegbox.training.session import Clock, Session
from pegbox.training.speaking import Speaking
from pegbox.training.trials import paired, trials_of

SAMPLES: Final = 3  # test clips that a synthesis run leaves as sound


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
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Finished:
    """A trial is over; `result` is what its `result.json` holds."""

    result: dict[str, Any]


AnyEvent = Event | Tried | Judged | Started | Cached | Headed | Finished


def run_trial(session: Session, seed: int, fold: int | None, folder: Path) -> Iterator[AnyEvent]:
    """Trains one trial into a folder, resuming what an interruption left there; yields what happens."""
    clock = Clock()
    with clock.phase("prepare"):
        data = session.crew.together(lambda: session.data(fold))
        seen = session.crew.each(lambda: (corpus_digest(data.all), session.backbone.digest))
        if len(set(seen)) > 1:
            raise CorpusError("the processes of this run see different clips or weights; give all of them the same")
    start = HeadStart(session, data, seed, folder)
    yield from _headed(start, clock)
    with clock.phase("prepare"):
        contest = Contest(session, data, seed, folder, head=start.tensors)
    try:
        yield from _run(contest, (seed, fold), clock, start.report)
        start.clear()
    finally:
        contest.leave()


def _headed(start: HeadStart, clock: Clock) -> Iterator[AnyEvent]:
    begun = time.perf_counter()
    for event in start.events():
        clock.add("cache" if isinstance(event, Cached) else "head", time.perf_counter() - begun)
        yield event
        begun = time.perf_counter()


def _run(contest: Contest, trial: tuple[int, int | None], clock: Clock, started: dict[str, Any]) -> Iterator[AnyEvent]:
    session, data, recipe = contest.session, contest.data, contest.session.recipe
    layout, size, what = contest.layout()
    cache = cache_of(session, layout)
    shared = () if cache else shared_depths(contest.models)
    contest.start(Feed(session.backbone, cache, 0 if recipe.train.crop else HELD_BYTES, shared))  # no part comes twice
    clips = {split: len(part) for split, part in data.rows.items()}
    yield Started(*trial, count(contest.largest.model), clips, what, size, contest.step, notes_on(recipe))
    if cache:
        with clock.phase("cache"):
            yield from fill(cache, data.all, session.crew)
    stopped = Stopped(0, 0, "")
    with threads_for(layout):
        for event in contest.run():
            stopped = _note(event, clock, stopped)
            yield event
    trainer, model = contest.winner.trainer, contest.winner.model
    assert trainer is not None
    model.delta.round()  # what is scored is what is kept
    with clock.phase("test"):
        trainer.tune(data.rows["valid"])
        said = {split: trainer.evaluate(data.rows[split]) for split in ("valid", "test") if data.rows[split]}
    trials = trials_of(recipe, model.task)
    said = {split: paired(rows, trials) for split, rows in said.items()}
    result = _result(contest, trial, said, stopped, clock) | {
        "clips": clips,
        "corpus": corpus_digest(data.all),
        "cache": what,
        "cache_bytes": size,
        "judged_on": "test" if isinstance(model.task, Peeks) and model.task.peeks else "valid",
        "chosen": {name: value for name, value in model.chosen.items() if isinstance(value, int | float | str)},
    }
    result = session.crew.once(lambda: write(contest, result | contest.report(stopped.step) | started, said))
    contest.clear()
    yield Finished(result)


def write(contest: Contest, result: dict[str, Any], said: dict[str, list[Prediction]]) -> dict[str, Any]:
    """Writes a trial's folder, `result.json` last."""
    session, folder, model = contest.session, contest.folder, contest.winner.model
    recipe, backbone = contest.winner.recipe, session.backbone
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
    lesson = contest.winner.trainer.lesson if contest.winner.trainer else None
    if isinstance(lesson, Speaking):
        _samples(lesson, contest.data.rows["test"][:SAMPLES], folder)
    beside = lesson.beside if isinstance(lesson, Speaking) else Beside(model.beside)
    beside.take_files(model.task)
    if beside.digests:
        about, result = ({**each, "beside": beside.digests} for each in (about, result))
    save_tensors(folder / ARTEFACT, model.artefact(), about)
    rows = [row for part in said.values() for row in part]
    put(folder / "predictions.jsonl", "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    for split, part in said.items():
        for suffix, text in model.task.files(part).items() if isinstance(model.task, Writes) else ():
            put(folder / f"{split}.{suffix}", text)
    put(folder / "recipe.toml", dumps(session.asked))
    put(folder / "env.json", json.dumps(environment(session), indent=1))
    result = result | {"artefact_bytes": (folder / ARTEFACT).stat().st_size}
    put(folder / "result.json", json.dumps(result, indent=1))
    return result


def _samples(lesson: Speaking, rows: Sequence[Row], folder: Path) -> None:
    """Writes what the model says of some clips, each beside its recording."""
    for row in rows:
        said, reference = samples(folder, row.id)
        said.parent.mkdir(exist_ok=True)
        soundfile.write(said, lesson.sound(row), lesson.speaker.rate)
        soundfile.write(reference, lesson.feed.wave(row), lesson.speaker.rate)


def environment(session: Session) -> dict[str, Any]:
    """Returns what the numbers were computed with."""
    from importlib.metadata import version

    names = ("pegbox", "torch", "transformers", "accelerate", "numpy", "soundfile", "soxr", "jiwer", "scikit-learn")
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "device": str(session.accelerator.device),
        "processes": session.crew.count,
        "threads": torch.get_num_threads(),
        "packages": {name: version(name) for name in names},
    }


def _note(event: Event | Tried | Judged, clock: Clock, stopped: Stopped) -> Stopped:
    match event:
        case Step() | Validated():
            clock.add("train" if isinstance(event, Step) else "validate", event.wall_seconds)
        case Tried(event=Step() | Validated() as tried):
            clock.add("search", tried.wall_seconds)
        case Stopped():
            return event
    return stopped


def _result(
    contest: Contest,
    trial: tuple[int, int | None],
    said: dict[str, list[Prediction]],
    stopped: Stopped,
    clock: Clock,
) -> dict[str, Any]:
    session, model = contest.session, contest.winner.model
    sizes = count(model)
    return {
        "recipe": session.asked.digest,
        "method": contest.winner.recipe.method,
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
