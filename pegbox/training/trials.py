"""Trials: the pairs of clips that a corpus wants compared, brought to the plain rows of those clips."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from pegbox import corpora
from pegbox.recipe import Recipe
from pegbox.tasks import Pairs, Prediction, Task

Trial = tuple[str, str, bool]


@runtime_checkable
class Paired(Protocol):
    """A corpus with pairs of clips to compare."""

    def trials(self) -> list[Trial]:
        """Returns ids two by two, and whether one person speaks in both."""


def trials_of(recipe: Recipe, task: Task) -> list[Trial]:
    """Returns the pairs of a recipe's corpus, if it has any and the task scores pairs."""
    if not (isinstance(task, Pairs) and task.pairs):
        return []
    corpus = corpora.build(recipe.corpus)
    return corpus.trials() if isinstance(corpus, Paired) else []


def paired(rows: Sequence[Prediction], trials: Sequence[Trial]) -> list[Prediction]:
    """Returns plain rows of which the first of a pair lists the others: `trials`, [id, same] each."""
    listed: dict[str, list[tuple[str, bool]]] = {row["id"]: [] for row in rows}
    for one, other, same in trials:
        if one in listed and other in listed:
            listed[one].append((other, same))
    return [{**row, "trials": listed[row["id"]]} if listed[row["id"]] else row for row in rows]
