"""Which methods a synthesis network refuses, by name."""

from collections.abc import Callable
from typing import Any

from pegbox import registry
from pegbox.errors import RecipeError
from pegbox.recipe import make
from pegbox.training.plans import plan

EXAMPLES = {"downsample": "downsample + bitfit"}  # it trains nothing by itself


def refused_by(settings_of: Callable[[str], dict[str, Any]]) -> set[str]:
    """Returns the names of all methods that a recipe is refused with; not those whose library is missing."""
    found = set()
    for method in registry.names("methods"):
        try:
            plan(make(settings_of(EXAMPLES.get(method, method))))
        except RecipeError as problem:
            found |= {method} if "peft: the library" not in str(problem) else set()
    return found
