"""The command line: a function a command, and `pegbox --help` lists them. Heavy imports stay inside."""

import csv
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Table

from pegbox import budget as budget_
from pegbox import cli_corpus, registry
from pegbox import recipe as recipe_
from pegbox.cli_bench import benching
from pegbox.cli_bench_report import reporting
from pegbox.cli_exchange import OtherBackbone, RunFolder, exchanging
from pegbox.cli_query import querying
from pegbox.cli_say import saying
from pegbox.cli_show import showing
from pegbox.errors import PegboxError, RecipeError

app = typer.Typer(
    name="pegbox",
    help="Parameter-efficient tuning of pretrained speech and audio models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for commands in (showing, saying, querying, exchanging, benching, reporting):
    app.add_typer(commands)
app.add_typer(cli_corpus.app, name="corpus")

RecipeFile = Annotated[Path | None, typer.Argument(help="A recipe in TOML; the options below override it.")]
Backbone = Annotated[str | None, typer.Option(help="Hub id or local folder of the pretrained network.")]
Method = Annotated[str | None, typer.Option(help="Such as 'lora(rank=8)' or 'lora + bitfit(blocks=\"6:\")'.")]
Task = Annotated[str | None, typer.Option(help="Such as 'classify(label=\"word\")' or 'ctc'.")]
Corpus = Annotated[str | None, typer.Option(help="Such as 'folder(root=\"clips\")'.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="Any setting: --set train.epochs=5 --set seeds=[0,1,2].")]
Out = Annotated[Path | None, typer.Option(help="The run's folder; an unfinished run in it goes on.")]
Budget = Annotated[
    list[str] | None,
    typer.Option(help="What it may cost: 0.5% of the backbone's numbers (so without one), 200kB, 10min; one of each."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]


@app.callback()
def options(debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False) -> None:
    """Parameter-efficient tuning of pretrained speech and audio models."""


@app.command()
def train(
    recipe: RecipeFile = None,
    backbone: Backbone = None,
    method: Method = None,
    task: Task = None,
    corpus: Corpus = None,
    changes: Set = None,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Tune a backbone by a method on a corpus, and leave a folder that predicts by itself."""
    _train(recipe_.make(_settings(recipe, backbone, method, task, corpus, changes)), out, as_json)


@app.command()
def tune(
    task: Task = None,
    corpus: Corpus = None,
    backbone: Backbone = "tiny",
    budget: Budget = None,
    kilobytes: Annotated[float, typer.Option(help="Limit of a method's part of the artefact; 0: none.")] = 0.0,
    minutes: Annotated[float, typer.Option(help="Time for all of the training; 0: no limit.")] = 0.0,
    changes: Set = None,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Let methods, sizes and rates within a budget compete on your audio; leaves one tuned model and says why."""
    method = budget_.spec(budget or [], kilobytes, minutes)
    _train(recipe_.make(_settings(None, backbone, method, task, corpus, changes)), out, as_json)


@app.command()
def check(
    recipe: RecipeFile = None,
    backbone: Backbone = None,
    method: Method = None,
    task: Task = None,
    corpus: Corpus = None,
    changes: Set = None,
    as_json: AsJson = False,
) -> None:
    """Say in seconds what a recipe would do: counts, cache, steps, memory. Reads no weights and decodes no audio."""
    made = recipe_.make(_settings(recipe, backbone, method, task, corpus, changes))
    from pegbox.training.plans import plan

    planned = plan(made)
    if as_json:
        _print_json(asdict(planned) | {"share": planned.share})
        return
    from pegbox.progress import print_plan

    print_plan(planned)


@app.command()
def params(
    backbone: Annotated[str, typer.Argument(help="Hub id, local folder or shipped name of the pretrained network.")],
    method: Annotated[str, typer.Argument(help="Such as 'lora(rank=8)' or 'lora + bitfit'.")],
    as_json: AsJson = False,
) -> None:
    """Say how many numbers a method trains on a backbone, by the place of its edits. Reads no weights."""
    from pegbox.training.plans import parts

    found = parts(backbone, method)
    if as_json:
        _print_json(asdict(found) | {"total": found.total, "share": found.share})
        return
    rows = [(part.method, part.role, part.edits, part.parameters) for part in found.parts]
    total = ("total", "", sum(part.edits for part in found.parts), found.total)
    _print_table(
        ["method", "at", "edits", "parameters", f"of {found.backbone:,}"],
        [
            *([*map(str, row[:3]), f"{row[3]:,}", f"{row[3] / found.backbone:.4%}"] for row in (*rows, total)),
            *([["layer weights", "outside the backbone", "", f"{found.layers:,}", ""]] if found.layers else []),
        ],
    )


@app.command("eval")
def evaluate(
    run: RunFolder,
    split: Annotated[str, typer.Option(help="train, valid or test.")] = "test",
    corpus: Annotated[str | None, typer.Option(help="Another corpus than the run's own.")] = None,
    backbone: OtherBackbone = None,
    as_json: AsJson = False,
) -> None:
    """Score a finished run on a split of its corpus or of another."""
    from pegbox.run import load

    scores = load(run).evaluate(split, corpus, backbone)
    if as_json:
        _print_json(scores)
    else:
        _print_table(["score", split], [[name, f"{value:.4f}"] for name, value in scores.items()])


@app.command()
def predict(
    run: RunFolder,
    files: Annotated[list[Path], typer.Argument(help="Audio files.")],
    form: Annotated[Literal["csv", "json"], typer.Option("--format", help="csv or json (one object a line).")] = "csv",
    backbone: OtherBackbone = None,
) -> None:
    """Print what a finished run says of audio files, with probabilities where the task has them."""
    from pegbox.run import load

    rows = load(run).predict(files, backbone)
    if form == "json":
        for row in rows:
            _print_json(row, indent=None)
        return
    flat = [_flat(row) for row in rows]
    writer = csv.DictWriter(sys.stdout, fieldnames=list(flat[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Runs and picture go here; what is finished is kept.")] = Path("runs/demo"),
    listen: Annotated[bool, typer.Option("--listen", help="Only write some clips as WAV files, to be heard.")] = False,
) -> None:
    """Tune the encoder that comes with Pegbox by several methods on speech that it makes itself; needs no data."""
    from pegbox import demo as demo_

    if listen:
        for path, about in demo_.listen(out / "listen"):
            typer.echo(f"{path}  {about}")
    else:
        demo_.show(out)


@app.command("list")
def list_(
    kind: Annotated[Literal["methods", "backbones", "tasks", "corpora"], typer.Argument(help="What to list.")],
    as_json: AsJson = False,
) -> None:
    """List what there is, with options and defaults."""
    found = [registry.describe(kind, name) for name in registry.names(kind)]
    with_weights = registry.shipped() if kind == "backbones" else {}
    if as_json:
        _print_json(
            [
                {"name": each.name, "summary": each.summary, "options": {k: str(v) for k, v in each.options.items()}}
                for each in found
            ]
            + [{"name": name, "summary": card, "options": {}} for name, card in with_weights.items()]
        )
        return
    for each in found:
        typer.echo(typer.style(each.name, bold=True) + f"  {each.summary}")
        for key, option in each.options.items():
            typer.echo(f"    {key}: {option}")
    for name, card in with_weights.items():
        typer.echo(typer.style(name, bold=True) + f"  with weights: {card}")


def main() -> None:
    """Runs the command line; a refusal is one line and its own exit code, with --debug a traceback."""
    debug = "--debug" in sys.argv
    sys.argv = [word for word in sys.argv if word != "--debug"]  # it may stand anywhere
    try:
        app()
    except PegboxError as problem:
        if debug:
            raise
        if _first():  # all of them are told what one of them refuses
            typer.echo(f"pegbox: {problem}", err=True)
        sys.exit(problem.exit_code)
    except OSError as problem:
        if debug:
            raise
        where = f"{problem.filename}: " if problem.filename else ""
        typer.echo(f"pegbox: {where}{problem.strerror or problem}; what was finished before is whole", err=True)
        sys.exit(1)


def _train(made: recipe_.Recipe, out: Path | None, as_json: bool) -> None:
    if out is None:
        raise RecipeError("say where the run goes with --out DIR")
    from pegbox import run
    from pegbox.progress import Display, print_result
    from pegbox.training.crew import part

    first = _first()
    try:
        with Display(silent=as_json or not first) as display:
            result = run.train(made, out, display.listen)
    except KeyboardInterrupt:
        typer.echo(f"pegbox: interrupted; the same command goes on where {out} was saved last", err=True)
        raise typer.Exit(130) from None
    if as_json and first:
        _print_json(result)
    elif first:
        print_result(result, out)
    part()


def _first() -> bool:
    """Returns whether this is the process that prints, of several that a launcher has started."""
    return os.environ.get("RANK", "0") == "0"


def _settings(
    recipe: Path | None,
    backbone: str | None,
    method: str | None,
    task: str | None,
    corpus: str | None,
    changes: list[str] | None,
) -> dict[str, Any]:
    flags = {"backbone": backbone, "method": method, "task": task, "corpus": corpus}
    base = recipe_.read(recipe) if recipe else {}
    return recipe_.override(base | {key: value for key, value in flags.items() if value is not None}, changes or [])


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    chances = row.get("probabilities", {})
    plain = {key: value for key, value in row.items() if key != "probabilities"}
    return plain | {f"p({name})": f"{chance:.6f}" for name, chance in chances.items()}


def _print_json(value: Any, indent: int | None = 1) -> None:
    typer.echo(json.dumps(value, indent=indent, ensure_ascii=False, default=str))


def _print_table(head: list[str], rows: list[list[str]]) -> None:
    table = Table(*head)
    for row in rows:
        table.add_row(*row)
    Console().print(table)


if __name__ == "__main__":
    main()
