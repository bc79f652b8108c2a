"""Everything that Pegbox refuses, with the exit code of the command line.

A message says what is wrong, where, what was found, and what to do about it.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class PegboxError(Exception):
    """Root of all refusals; `exit_code` is what the command line returns."""

    exit_code = 1


class RecipeError(PegboxError):
    """A recipe, spec or option that cannot be meant: unknown names, wrong types, impossible combinations."""

    exit_code = 2


class CorpusError(PegboxError):
    """Audio or labels that are missing, unreadable or contradictory."""

    exit_code = 3


class WeightsError(PegboxError):
    """Weights that are missing, not finite, or not those a run was trained on."""

    exit_code = 4


class DeadParameterError(PegboxError):
    """A trained tensor that receives no gradient."""

    exit_code = 5


class NonFiniteError(PegboxError):
    """A loss that is not a finite number."""

    exit_code = 6


def nearest(word: str, known: Iterable[str]) -> str:
    """Returns `'; did you mean X?'`, or the list of what is known when nothing is near."""
    known = sorted(known)
    close = get_close_matches(word, known, n=1, cutoff=0.5)
    return f"; did you mean '{close[0]}'?" if close else f"; known: {', '.join(known) or 'none'}"
