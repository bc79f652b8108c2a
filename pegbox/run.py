"""Run: what came out of a recipe, a small folder that predicts by itself. `train` makes one, `load` opens one."""

import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, stdev
from tempfile import TemporaryDirectory
from typing import Any

from pegbox import recipe as recipe_
from pegbox import tasks
from pegbox.backbones import Precision, Speaker
from pegbox.errors import PegboxError, RecipeError
from pegbox.recipe import Recipe, dumps
from pegbox.rows import Row
from pegbox.surgery import put
from pegbox.tasks import Prediction, Speaks
from pegbox.training import reopened
from pegbox.training.aligned import aligned
from pegbox.training.crew import Crew, accelerator
from pegbox.training.feed import Feed
from pegbox.training.kept import read, result_of
from pegbox.training.logs import Recorder
from pegbox.training.loop import better
from pegbox.training.model import Tuned
from pegbox.training.plans import plan
from pegbox.training.prepare import corpus_rows, cut_folder, heard
from pegbox.training.session import Session, Shelf
from pegbox.training.speaking import Speaking
from pegbox.training.trial import AnyEvent, Finished, Started, run_trial
from pegbox.training.trials import paired, trials_of

Listener = Callable[[AnyEvent, Path], None]


@dataclass(frozen=True)
class Run:
    """A finished run's folder with its recipe and result. The model is read on the first prediction."""

    folder: Path
    recipe: Recipe
    result: dict[str, Any]

    def predict(self, paths: Iterable[str | Path], backbone: str | None = None) -> list[Prediction]:
        """Returns one plain row a file, in the order given: id, said, and probabilities where the task has them."""
        if isinstance(tasks.build(self.recipe.task), Speaks):
            raise RecipeError(f"{self.folder}: this run speaks and hears nothing; use 'pegbox say {self.folder} TEXT'")
        rows = [Row(str(path), str(path), gain=self.recipe.gain) for path in paths]
        with TemporaryDirectory() as place:
            return reopened.predict(open_model(self, backbone), heard(rows, self.recipe, Path(place)))

    def evaluate(self, split: str = "test", corpus: str | None = None, backbone: str | None = None) -> dict[str, float]:
        """Returns the scores on a split of the run's corpus, or of another one."""
        recipe = self.recipe if corpus is None else replace(self.recipe, corpus=corpus)
        fold = self.result["fold"] if corpus is None else None
        wanted = [row for row in corpus_rows(recipe, fold) if row.split == split]
        if not wanted:
            raise RecipeError(f"{recipe.corpus}: no rows in the split '{split}'")
        task = tasks.build(recipe.task)
        if isinstance(task, Speaks):
            lesson = speaking(open_model(self, backbone))
            return task.score(lesson.heard(_timed(wanted, lesson, recipe), with_loss=False)[0])
        true = [task.truth(row.labels) for row in wanted]
        said = reopened.predict(open_model(self, backbone), heard(wanted, recipe, cut_folder()))
        rows = [{**each, "true": truth} for each, truth in zip(said, true, strict=True)]
        return task.score(paired(rows, trials_of(recipe, task)))


def train(
    recipe: Recipe | str | Path | dict[str, Any],
    out: str | Path,
    listener: Listener | None = None,
    shelf: Shelf | None = None,
) -> dict[str, Any]:
    """Trains every seed and fold of a recipe into a folder and returns the summary that its `result.json` holds.

    An interrupted run goes on where it was when called again with the same recipe and folder, and ends with the
    same numbers. `listener(event, folder)` is told everything that happens, in the first process of several. With a
    `shelf` the loaded backbone is kept for the next recipe that wants the same one.

    Raises:
        RecipeError: when the folder holds something else, or this run already finished.
    """
    recipe = as_recipe(recipe)
    folder = Path(out)
    crew = Crew(accelerator())
    crew.together(lambda: plan(recipe))  # whatever can be known to be wrong is said before anything is written
    crew.once(lambda: claim(folder, recipe))
    session = crew.together(lambda: Session(recipe, shelf))
    pairs = [(seed, fold) for fold in (recipe.folds or (None,)) for seed in recipe.seeds]
    results = []
    for seed, fold in pairs:
        place = folder if len(pairs) == 1 else folder / _trial_name(recipe, seed, fold)
        results.append(_trial(session, seed, fold, place, listener))
    session.leave()
    if len(pairs) == 1:
        return results[0]
    summary = summarise(results)
    crew.once(lambda: put(folder / "result.json", json.dumps(summary, indent=1)))
    return summary


def load(folder: str | Path) -> Run:
    """Opens a finished run; of several seeds or folds the one with the best validation score, whose folder it names."""
    return Run(*read(Path(folder)))


def load_trials(folder: str | Path) -> list[Run]:
    """Opens every trial of a finished run, in the order they were made."""
    result = result_of(Path(folder)) or {}
    places = [Path(folder) / each["trial"] for each in result["trials"]] if "trials" in result else [folder]
    return [load(place) for place in places]


def open_model(run: Run, backbone: str | None = None, precision: Precision | None = None) -> Tuned:
    """Returns a run's model with its trained tensors; `backbone` says where the checkpoint lies now, if it was moved.

    The frozen network is held in the precision that it was trained in, or in another one.

    Raises:
        WeightsError: when the checkpoint is another one than the run was trained on.
    """
    return reopened.open_model(run.folder, run.recipe, backbone, precision)


def speaking(model: Tuned) -> Speaking:
    """Returns how a synthesis run's model speaks."""
    assert isinstance(model.backbone, Speaker)
    return Speaking(model, model.backbone, Feed(model.backbone, None))


def _timed(rows: Sequence[Row], lesson: Speaking, recipe: Recipe) -> list[Row]:
    """Returns rows with the times of their units, which the network finds without its method where they are missing."""
    lesson.model.delta.detach()
    found = aligned(rows, lesson.speaker, lesson.task, recipe.cache.folder)
    lesson.model.delta.attach()
    return found


def as_recipe(recipe: Recipe | str | Path | dict[str, Any]) -> Recipe:
    """Returns a recipe from a recipe, its settings, or the path of a TOML file."""
    if isinstance(recipe, Recipe):
        return recipe
    return recipe_.make(recipe if isinstance(recipe, dict) else recipe_.read(recipe))


def claim(folder: Path, recipe: Recipe) -> None:
    """Takes a folder for a recipe: new, empty, or holding an unfinished run of the same recipe."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        saved = folder / "recipe.toml"
        begun = any(path.is_file() and path != saved for path in folder.rglob("*"))  # beyond a refused corpus
        if saved.exists() and begun and recipe_.make(recipe_.read(saved)).digest != recipe.digest:
            raise RecipeError(f"{folder}: holds a run of another recipe; choose another --out")
        if not saved.exists() and begun:
            raise RecipeError(f"{folder}: holds other files and no run; choose another --out")
        if (folder / "result.json").exists():
            raise RecipeError(f"{folder}: this run is already finished; see it with 'pegbox show {folder}'")
        put(saved, dumps(recipe))
    except OSError as problem:
        raise PegboxError(f"{folder}: cannot write here ({problem.strerror}); choose another --out") from problem


def summarise(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Returns means and deviations over the trials of a run, and which is best on validation."""
    first = results[0]
    splits = {split: list(scores) for split, scores in first["scores"].items()}
    values = {
        split: {name: [each["scores"][split][name] for each in results] for name in names}
        for split, names in splits.items()
    }
    spread = stdev if len(results) > 1 else lambda single: 0.0
    best = first
    for each in results[1:]:
        score, other = (one["scores"]["valid"][first["metric"]] for one in (each, best))
        if better(first["better"], score, other):
            best = each
    return {
        "recipe": first["recipe"],
        "metric": first["metric"],
        "better": first["better"],
        "mean": {split: {name: fmean(v) for name, v in scores.items()} for split, scores in values.items()},
        "deviation": {split: {name: spread(v) for name, v in scores.items()} for split, scores in values.items()},
        "parameters": first["parameters"],
        "seconds": {name: sum(e["seconds"].get(name, 0.0) for e in results) for name in first["seconds"]},
        "peak_memory_mb": max(each["peak_memory_mb"] for each in results),
        "artefact_bytes": first["artefact_bytes"],
        "best_trial": best["trial"],
        "trials": list(results),
    }


def _trial_name(recipe: Recipe, seed: int, fold: int | None) -> str:
    parts = [f"fold-{fold}"] if fold is not None else []
    return "-".join([*parts, *([f"seed-{seed}"] if len(recipe.seeds) > 1 or not parts else [])])


def _trial(session: Session, seed: int, fold: int | None, place: Path, listener: Listener | None) -> dict[str, Any]:
    crew = session.crew
    result = crew.once(lambda: result_of(place))
    if result is not None:
        return result | {"trial": place.name}
    crew.once(lambda: place.mkdir(parents=True, exist_ok=True))
    result = {}
    with ExitStack() as stack:
        record: Callable[[AnyEvent], None] | None = None
        for event in run_trial(session, seed, fold, place):
            if isinstance(event, Started) and crew.first:
                record = stack.enter_context(Recorder(place, event.resumed_at)).listen
            if record:
                record(event)
            if listener and crew.first:
                listener(event, place)
            if isinstance(event, Finished):
                result = event.result | {"trial": place.name}
    return result
