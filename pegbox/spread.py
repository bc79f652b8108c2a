"""How importance is distributed over a network's entries: what a run keeps of it, as numbers and as a picture.

Child-Tuning (arXiv:2109.05687) begins with this look: how much of all Fisher information a few entries hold.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Final

from pegbox import pictures
from pegbox.errors import RecipeError

FILE: Final = "importance.json"


@dataclass(frozen=True)
class Part:
    """One block or role, as shares of the whole pool: of importance, of entries, and of the child that was chosen."""

    importance: float
    entries: float
    child: float


@dataclass(frozen=True)
class Spread:
    """The distribution of a run, each number a mean over its trials.

    `held`: share of all entries → share of all importance that the most important ones hold.
    """

    methods: tuple[str, ...]
    trials: int
    held: dict[float, float]
    blocks: dict[str, Part]
    roles: dict[str, Part]


def read(folder: Path) -> Spread:
    """Returns the distribution by which the child of a finished run was chosen.

    Raises:
        RecipeError: where no run is finished, or its method measured no importance.
    """
    result = _json(folder / "result.json", "no finished run here")
    trials = [(folder / each["trial"], each["method"]) for each in result.get("trials", [])]
    trials = trials or [(folder, result.get("method", ""))]
    reports = [_report(place, method) for place, method in trials]
    shares = reports[0]["mass"]
    return Spread(
        tuple(dict.fromkeys(method for _, method in trials)),
        len(reports),
        {float(share): fmean(each["mass"][share] for each in reports) for share in shares},
        _parts([each["block"] for each in reports]),
        _parts([each["role"] for each in reports]),
    )


def tables(spread: Spread) -> Iterator[tuple[tuple[str, ...], Sequence[tuple[str, ...]]]]:
    """Yields heads and lines of three tables: by share of entries, by block, by role."""
    held = [(f"{share:.2%}", f"{part:.1%}") for share, part in spread.held.items()]
    yield ("most important entries", "of all importance"), held
    for what, parts in (("block", spread.blocks), ("role", spread.roles)):
        lines = [(name, f"{p.entries:.1%}", f"{p.importance:.1%}", f"{p.child:.1%}") for name, p in parts.items()]
        yield (what, "of all entries", "of all importance", "of the child"), lines


def draw(spread: Spread, out: Path) -> None:
    """Draws the three tables side by side into a PNG, PDF or SVG file.

    Raises:
        RecipeError: without matplotlib, or for another kind of file.
    """
    figure = pictures.figure(13, 3.8)
    first, *others = figure.subplots(1, 3)
    first.plot(list(spread.held), list(spread.held.values()), marker="o")
    first.set(xscale="log", ylim=(0, 1.05), xlabel="share of all entries, the most important first")
    first.set_ylabel("share of all importance")
    for axes, what, parts in zip(others, ("block", "role"), (spread.blocks, spread.roles), strict=True):
        _bars(axes, parts)
        axes.set(title=f"by {what}", xlabel="share of the pool")
    for axes in (first, *others):
        axes.grid(alpha=0.3)
    pictures.save(figure, out)


def _bars(axes: Any, parts: Mapping[str, Part]) -> None:
    series = {"entries": "entries", "importance": "importance", "the child": "child"}
    for number, (label, name) in enumerate(series.items()):
        places = [place + 0.27 * (number - 1) for place in range(len(parts))]
        axes.barh(places, [getattr(part, name) for part in parts.values()], height=0.25, label=label)
    axes.set_yticks(range(len(parts)), list(parts), fontsize="small")
    axes.invert_yaxis()
    axes.legend(fontsize="small")


def _report(place: Path, method: str) -> dict[str, Any]:
    missing = f"the method {method} measured no importance; child and ad_tuning do"
    found = _json(place / FILE, missing)
    if method not in found:
        raise RecipeError(f"{place / FILE}: {missing}")
    report: dict[str, Any] = found[method]
    return report


def _parts(tables: Sequence[Mapping[str, Sequence[float]]]) -> dict[str, Part]:
    """Returns means over trials of shares, from importance, entries and chosen entries of each place."""
    return {name: Part(*map(fmean, zip(*(_shares(each, name) for each in tables), strict=True))) for name in tables[0]}


def _shares(table: Mapping[str, Sequence[float]], name: str) -> Iterable[float]:
    importance, entries, kept = table[name]
    totals = [max(sum(row[column] for row in table.values()), 1) for column in (1, 2)]
    return importance, entries / totals[0], kept / totals[1]


def _json(path: Path, missing: str) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise RecipeError(f"{path}: {missing}") from None
    except (OSError, ValueError) as problem:
        raise RecipeError(f"{path} cannot be read: {problem}") from None
    if not isinstance(found, dict):
        raise RecipeError(f"{path}: not what Pegbox writes there")
    return found
