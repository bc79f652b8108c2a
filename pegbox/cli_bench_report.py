"""The commands `pegbox report` and `pegbox compare`. Heavy imports stay inside."""

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pegbox.bench.compare import Comparison
    from pegbox.bench.recorded import Recorded
    from pegbox.bench.statistics import Paired

reporting = typer.Typer()

Folders = Annotated[list[Path], typer.Argument(help="Folders with finished runs anywhere below them.")]
RunFolder = Annotated[Path, typer.Argument(help="The folder of a finished run.")]


@reporting.command()
def report(
    runs: Folders,
    out: Annotated[Path, typer.Option(help="The report's folder; what it holds of an earlier one is replaced.")],
    title: Annotated[str, typer.Option(help="The page's title.")] = "Pegbox report",
    audio: Annotated[
        Literal["none", "embed", "link"],
        typer.Option(help="Sounds of clips that runs got wrong or have said: in the page, or linked."),
    ] = "none",
    published: Annotated[
        Literal["suite", "all", "none"], typer.Option(help="Published numbers: of the runs' suites, all, or none.")
    ] = "suite",
    resamples: Annotated[int, typer.Option(min=0, help="Draws of the bootstrap; 0 leaves intervals out.")] = 1000,
) -> None:
    """Write a page on many runs: leaderboard, trade-offs, curves, errors, recipes; and its tables as files."""
    from pegbox.bench.report import Options, write

    made = write(runs, out, Options(title, audio, published, resamples), _watched)
    typer.echo(f"{made[0]}: open it in a browser; beside it {', '.join(path.name for path in made[1:])}")


@reporting.command()
def compare(
    first: RunFolder,
    second: RunFolder,
    clips: Annotated[int, typer.Option(min=0, help="How many clips to show that one gets right.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
) -> None:
    """Compare two runs of one task: recipes, scores with a paired test, curves, and clips that only one gets right."""
    from pegbox.bench.compare import compare as compare_
    from pegbox.bench.report.page import finite

    found = compare_(first, second)
    if as_json:
        typer.echo(json.dumps(finite(asdict(found)), indent=1, ensure_ascii=False))
        return
    _print(found, clips)


def _watched(runs: "Sequence[Recorded]") -> "Iterable[Recorded]":
    console = Console(stderr=True)
    return track(runs, description="runs", console=console, transient=True, disable=not console.is_terminal)


def _print(found: "Comparison", clips: int) -> None:
    console = Console(highlight=False)
    _rows(console, ("setting", "first", "second"), [(each.name, each.first, each.second) for each in found.settings])
    scores = [
        (name, f"{one:.4f}", f"{other:.4f}", f"{one - other:+.4f}") for name, (one, other) in found.scores.items()
    ]
    _rows(console, (f"{found.split}, mean of {found.trials}", "first", "second", "difference"), scores)
    if found.test:
        console.print(_told(found.test, found.metric, found.better))
    for name, line in found.curves.items():
        console.print(f"{name:>7} {line}", markup=False)
    if not found.judged:
        console.print("clips alone are neither right nor wrong in this task")
        return
    for title, part in (("first", found.first_better), ("second", found.second_better)):
        rows = [(each.id, each.true, each.first, each.second) for each in part[:clips]]
        console.print(f"clips on which the {title} is better: {len(part)}")
        _rows(console, ("clip", "true", "first said", "second said"), rows)


def _told(test: "Paired", metric: str, better: str) -> str:
    verdict = "better" if (test.difference > 0) == (better == "max") else "worse"
    how = f"{verdict} by {abs(test.difference):.4f}" if test.difference else "as good"
    where = f"95 % interval of the difference {test.low:+.4f} to {test.high:+.4f}"
    sure = "too few units for a test" if math.isnan(test.p) else f"p = {test.p:.4f}, paired {test.test}"
    return f"{metric}: the first is {how}; {where}; {sure}; {test.units} units"


def _rows(console: Console, head: "Sequence[str]", rows: "Sequence[Sequence[str]]") -> None:
    if rows:
        table = Table(*map(escape, head))
        for row in rows:
            table.add_row(*map(escape, row))
        console.print(table)
