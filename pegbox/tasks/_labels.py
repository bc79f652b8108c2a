"""Reading label columns, with clear refusals."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from pegbox.errors import CorpusError, RecipeError, nearest


def named(task: str, told: str | tuple[str, ...]) -> tuple[str, ...]:
    """Returns the label columns of a task that takes one or several."""
    columns = (told,) if isinstance(told, str) else told
    if not columns or len(set(columns)) < len(columns):
        raise RecipeError(f"{task}(label={list(columns)}): one column or more, each once")
    return columns


def column(rows: Sequence[Mapping[str, str]], name: str, split: str) -> list[str]:
    """Returns one label of every row, or says which column is missing or empty, and how often."""
    missing = sum(name not in row for row in rows)
    if missing == len(rows) and rows:
        raise CorpusError(
            f"the rows of '{split}' have no label '{name}'{nearest(name, {key for row in rows for key in row})}"
        )
    if missing:
        raise CorpusError(
            f"{missing} of {len(rows)} rows of '{split}' have no label '{name}'; filter them out or fill them"
        )
    values = [row[name] for row in rows]
    empty = sum(not value.strip() for value in values)
    if empty:
        raise CorpusError(
            f"{empty} of {len(rows)} rows of '{split}' have an empty label '{name}'; filter them out or fill them"
        )
    return values


def learnable(name: str, known: Mapping[str, set[str]]) -> tuple[str, ...]:
    """Returns the classes of the training split, sorted; refuses one alone, and classes that it lacks."""
    classes = known.get("train", set())
    if len(classes) < 2:
        raise CorpusError(f"the training split has {len(classes)} class of '{name}'; at least 2 are needed")
    for split, found in known.items():
        if found - classes:
            raise CorpusError(
                f"'{split}' has {len(found - classes)} values of '{name}' that training lacks: "
                f"{sorted(found - classes)[:8]}; no model can learn them, change the split or filter the rows"
            )
    return tuple(sorted(classes))


def blend(one: Tensor, other: Tensor, shares: Tensor) -> Tensor:  # each (batch,) → ()
    """Returns the mean of losses that two truths have a share in."""
    return (shares * one + (1 - shares) * other).mean()


def label(row: Mapping[str, str], name: str) -> str:
    """Returns one label of one row, or says that it is missing or empty."""
    if not row.get(name, "").strip():
        raise CorpusError(f"a row has no label '{name}', or an empty one{nearest(name, row)}")
    return row[name]
