"""The commands `pegbox corpus fetch`, `check` and `prepare`. Heavy imports stay inside."""

import json
import shlex
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from pegbox.errors import CorpusError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pegbox.census import Census, Finding, Part

MOST_CLASSES: Final = 50

app = typer.Typer(
    help="Fetch a corpus, or look at one on this disk: count it, check it, write its manifest.", no_args_is_help=True
)

Name = Annotated[str, typer.Argument(help="A name, or a spec such as 'gtzan(root=\"music\", fold=3)'.")]
Root = Annotated[str | None, typer.Argument(help="Where it lies, if the spec does not say so.")]
Deep = Annotated[bool, typer.Option("--deep", help="Also decode every sound, and find the same one under two names.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]


@app.command()
def check(corpus: Name, root: Root = None, deep: Deep = False, as_json: AsJson = False) -> None:
    """List all that is wrong with a corpus, and count hours, clips, speakers and labels a split."""
    from pegbox import census

    console = Console(stderr=True)
    watch = partial(track, description="sounds", console=console, transient=True, disable=not console.is_terminal)
    taken = census.take(census.spec(corpus, root), deep, watch)
    if as_json:
        typer.echo(json.dumps(asdict(taken), indent=1, ensure_ascii=False))
    else:
        _show(taken)
    if taken.faults:
        raise typer.Exit(CorpusError.exit_code)


@app.command()
def prepare(corpus: Name, out: Annotated[Path, typer.Argument(help="The manifest to write, a .jsonl file.")]) -> None:
    """Check a corpus and write its rows as a manifest, which the corpus 'manifest' reads."""
    from pegbox import census

    count, spec = census.prepare(corpus, out)
    typer.echo(f"{out}: {count} rows; read them with {spec}")


@app.command("fetch")
def fetch_(
    corpus: Annotated[str, typer.Argument(help="A name, such as librispeech.")],
    root: Annotated[Path, typer.Argument(help="The folder to unpack it in.")],
    parts: Annotated[list[str] | None, typer.Option("--part", help="A part of it; may be given several times.")] = None,
) -> None:
    """Fetch a corpus's official archives, checked by their checksums, and unpack them; the others say where to ask."""
    from pegbox.corpora import fetch
    from pegbox.corpora._fetch import archives, licence

    found = fetch(corpus, root, parts or (), progress=Console(stderr=True).is_terminal)
    for each in found:
        done = "fetched, the checksum is right" if each.fresh else "lies there whole"
        typer.echo(f"{each.part}: {each.files:,} files in {each.place}, {done}; licence: {licence(corpus)}")
    several = ", in a spec that names the parts you read" if len(archives(corpus)) > 1 else ""
    typer.echo(f"next: pegbox corpus check {corpus} {shlex.quote(str(found[0].place))}{several}")


def _show(taken: "Census") -> None:
    table = Table("split", "clips", "hours", "speakers", "different values of each label")
    for part in taken.parts:
        values = ", ".join(f"{key} {count:,}" for key, count in part.values.items())
        people = "" if part.speakers is None else f"{part.speakers:,}"
        table.add_row(part.split or "(none)", f"{part.clips:,}", f"{part.hours:.2f}", people, escape(values))
    Console().print(table)
    _show_classes(taken.parts)
    typer.echo("sample rates: " + (", ".join(f"{rate} Hz {count:,}" for rate, count in taken.rates.items()) or "none"))
    for kind, found in (("fault", taken.faults), ("note", taken.notes)):
        for each in found:
            _tell(kind, each)
    typer.echo(f"{sum(each.count for each in taken.faults)} faults")


def _show_classes(parts: "Sequence[Part]") -> None:
    """Prints how often each value of the labels of few values stands in each split."""
    table = Table("label", "value", *(part.split or "(none)" for part in parts))
    for key in sorted({key for part in parts for key in part.labels}):
        values = sorted({value for part in parts for value in part.labels.get(key, ())})
        if len(values) <= MOST_CLASSES:
            for value in values:
                counts = (part.labels.get(key, {}).get(value, 0) for part in parts)
                table.add_row(escape(key), escape(value), *(f"{count:,}" for count in counts))
    if table.row_count:
        Console().print(table)


def _tell(kind: str, found: "Finding") -> None:
    typer.echo(f"{kind}: {found.what}: {found.count:,}")
    for example in found.examples:
        typer.echo(f"    {example}")
    if found.count > len(found.examples):
        typer.echo(f"    … and {found.count - len(found.examples):,} more")
