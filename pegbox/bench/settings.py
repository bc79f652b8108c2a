"""Settings of a matrix: plain tables become dataclasses, every key and type checked."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from pegbox import registry
from pegbox.errors import RecipeError, nearest


def built(kind: Any, settings: Mapping[str, Any], where: str) -> Any:
    """Returns a dataclass of plain settings; `where` is the place in the file that a refusal names."""
    known = {each.name: each for each in fields(kind)}
    given = {}
    for key, value in settings.items():
        if key not in known:
            raise RecipeError(f"matrix: {where}unknown key '{key}'{nearest(key, known)}")
        given[key] = _fitted(known[key].type, value, where + key)
    try:
        return kind(**given)
    except TypeError as problem:
        raise RecipeError(f"matrix: {where}{problem}") from None


def _fitted(annotation: Any, value: Any, where: str) -> Any:
    if annotation == "dict[str, Any]":
        if not isinstance(value, Mapping):
            raise RecipeError(f"matrix: '{where}' is a table of settings, found {value!r}")
        return dict(value)
    if annotation.startswith(("tuple[Entry", "tuple[Override")):
        return value
    try:
        return registry.fit(value, annotation)
    except TypeError as problem:
        raise RecipeError(f"matrix: '{where}': {problem}") from None


def distinct(what: str, values: Sequence[Any]) -> None:
    """Refuses a value that stands there twice."""
    twice = [value for value in dict.fromkeys(values) if list(values).count(value) > 1]
    if twice:
        raise RecipeError(f"matrix: {what}: {twice[0]!r} stands there twice")
