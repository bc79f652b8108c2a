"""What a finished run has kept in its folder: its recipe and its result, read without any weights."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from pegbox import recipe as recipe_
from pegbox import registry
from pegbox.errors import RecipeError
from pegbox.recipe import Recipe, Search

ARTEFACT: Final = "delta.safetensors"


def result_of(folder: Path) -> dict[str, Any] | None:
    """Returns what `result.json` holds, or None where a run is not finished."""
    try:
        result: dict[str, Any] = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as problem:
        raise RecipeError(f"{folder}/result.json cannot be read: {problem}") from None
    return result


def read(folder: Path) -> tuple[Path, Recipe, dict[str, Any]]:
    """Returns a finished trial's folder, recipe and result; of several trials those of the best on validation.

    Raises:
        RecipeError: no run, or one that is not finished.
    """
    result = result_of(folder)
    if result is None:
        unfinished = (folder / "recipe.toml").exists()
        hint = "the run is not finished; train it again to go on" if unfinished else "no run in this folder"
        raise RecipeError(f"{folder}: {hint}")
    if "trials" in result:
        return read(folder / result["best_trial"])
    asked = recipe_.make(recipe_.read(folder / "recipe.toml"))  # a search has found its method since
    return folder, replace(asked, method=result.get("method", asked.method), search=Search()), result


def recipe_of(folder: str, task: str, option: str) -> Recipe:
    """Returns the recipe of a finished run that another one asks by an option such as `synthesize(verifier=…)`.

    Raises:
        RecipeError: no finished run, or one of another task.
    """
    try:
        _, recipe, _ = read(Path(folder))
    except RecipeError as problem:
        raise RecipeError(f"{option} is the folder of a finished run of the task {task}: {problem}") from None
    if registry.parse(recipe.task)[0].name != task:
        raise RecipeError(f"{option} wants a run of the task {task}; {folder} is one of {recipe.task}")
    return recipe
