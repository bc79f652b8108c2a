"""The command that shows a run: its result, its learning curve, its distribution of importance."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from pegbox.cli_exchange import RunFolder

showing = typer.Typer()


@showing.command()
def show(
    run: RunFolder,
    curve: Annotated[Path | None, typer.Option(help="Draw the learning curve into this PNG, PDF or SVG file.")] = None,
    importance: Annotated[
        Path | None, typer.Option(help="Print how importance is distributed, and draw it into this file.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
) -> None:
    """Show a run: parameters by part, scores, seconds; draw its curve, or what a child network was chosen by."""
    from pegbox.progress import print_result, read_result

    result = read_result(run)
    if curve is not None:
        from pegbox.curves import draw

        draw(run, curve)
    if importance is not None:
        _show_importance(run, importance, as_json)
    elif as_json:
        _print_json(result)
    else:
        print_result(result, run)


def _show_importance(run: Path, out: Path, as_json: bool) -> None:
    from pegbox import spread

    found = spread.read(run)
    spread.draw(found, out)
    if as_json:
        _print_json(asdict(found))
        return
    console = Console()
    console.print(f"{', '.join(found.methods)}: means over {found.trials} trials")
    for head, lines in spread.tables(found):
        table = Table(*head)
        for line in lines:
            table.add_row(*line)
        console.print(table)


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=1, ensure_ascii=False, default=str))
