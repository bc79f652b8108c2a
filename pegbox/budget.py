"""What `pegbox tune --budget` means: a share of the backbone's numbers, bytes of the artefact, or time."""

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from pegbox.errors import RecipeError

SHARE: Final = 0.005  # where nothing limits what a method trains
# Unit in small letters → which option of `auto` it is, and that option's units: times, over.
_UNITS: Final[Mapping[str, tuple[str, int, int]]] = MappingProxyType(
    {
        "": ("budget", 1, 1),
        "%": ("budget", 1, 100),
        "kb": ("kilobytes", 1, 1),
        "mb": ("kilobytes", 1000, 1),
        "min": ("minutes", 1, 1),
        "h": ("minutes", 60, 1),
    }
)
_FORM: Final = re.compile(r"(\d+\.?\d*(?:e-\d+)?|\.\d+)\s*([a-z%]*)", re.IGNORECASE)


def spec(budgets: Sequence[str], kilobytes: float = 0.0, minutes: float = 0.0) -> str:
    """Returns the call of `auto` that these mean: one budget of each kind, and the limits of the older options.

    Where only bytes are limited by a budget, any share of the backbone may be trained; otherwise 0.5% without one.

    Raises:
        RecipeError: for what is no budget, and for two of a kind.
    """
    given = {kind: value for kind, value in (("kilobytes", kilobytes), ("minutes", minutes)) if value}
    share = SHARE
    for text in budgets:
        kind, value = read(text)
        if kind in given:
            raise RecipeError(f"--budget {text}: what `auto` calls {kind} is limited twice; say it once")
        given[kind] = value
        share = 1.0 if kind == "kilobytes" else share
    limit = f", minutes={given['minutes']!r}" if "minutes" in given else ""  # so that a run begun before goes on
    return f"auto(budget={given.get('budget', share)!r}, kilobytes={given.get('kilobytes', 0.0)!r}{limit})"


def read(text: str) -> tuple[str, float]:
    """Returns the option of `auto` that one budget is, and its value."""
    found = _FORM.fullmatch(text.strip())
    unit = found and _UNITS.get(found[2].lower())
    if not found or not unit:
        raise RecipeError(
            f"--budget {text}: a share such as 0.5% or 0.005, bytes such as 200kB or 1MB, or a time such as 10min or 1h"
        )
    kind, times, over = unit
    value = float(found[1]) * times / over
    if kind != "budget" and value == 0:
        raise RecipeError(f"--budget {text}: more than 0; leave it out where nothing is limited")
    return kind, value
