"""The commands `pegbox bench` and `pegbox watch`. Heavy imports stay inside."""

import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pegbox.errors import RecipeError
from pegbox.recipe import override

if TYPE_CHECKING:
    from pegbox.bench.board import Board
    from pegbox.bench.local import Told
    from pegbox.bench.matrix import Cell, Group, Matrix
    from pegbox.bench.outlook import Outlook, Total
    from pegbox.bench.progress import Sight
    from pegbox.bench.store import Store
    from pegbox.bench.work import Outcome

FAILED: Final = 7  # exit code: some runs failed

benching = typer.Typer()

File = Annotated[str, typer.Argument(help="A matrix or suite in TOML, or the name of a suite that comes with Pegbox.")]
Many = list[str] | None


@benching.command()
def bench(
    matrix: File,
    out: Annotated[Path, typer.Option(help="Where the runs go; what is finished there is kept.")] = Path("runs/bench"),
    backbone: Annotated[Many, typer.Option(help="Instead of the file's backbones; may be given several times.")] = None,
    method: Annotated[Many, typer.Option(help="Instead of the file's methods; may be given several times.")] = None,
    task: Annotated[Many, typer.Option(help="Only these tasks of the file, by their short names.")] = None,
    data: Annotated[str, typer.Option(help="The folder that {data} in the file stands for.")] = "",
    changes: Annotated[Many, typer.Option("--set", help="Any key: --set seeds=[0,1,2] --set train.epochs=5.")] = None,
    existing: Annotated[
        Literal["only-missing", "always", "never", "only-cache"],
        typer.Option(help="Run what is missing; all anew; refuse a folder with runs; or only show what is there."),
    ] = "only-missing",
    workers: Annotated[int, typer.Option(help="Runs at once; 0: one a core, on a cluster all it holds.")] = 0,
    part: Annotated[str, typer.Option(help="Only the i-th of n shares of the methods and tasks, as 3/8.")] = "",
    on: Annotated[Literal["local", "ray"], typer.Option(help="This machine, or a Ray cluster.")] = "local",
    address: Annotated[str, typer.Option(help="The cluster to join; empty: the one here, or a new one.")] = "",
    cpus: Annotated[float, typer.Option(help="Cores that a run on a cluster asks for.")] = 1.0,
    gpus: Annotated[float, typer.Option(help="GPUs, or a share of one, that a run on a cluster asks for.")] = 0.0,
    mirror: Annotated[str, typer.Option(help="A second place for the runs, such as s3://bucket/runs.")] = "",
    emit: Annotated[Literal["slurm"] | None, typer.Option(help="Print an array script for sbatch instead.")] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Only say what would be run, and what it would cost.")] = False,
) -> None:
    """Run every backbone × method × task × seed of a matrix; started again, it goes on where it was."""
    from pegbox.bench import matrix as matrix_
    from pegbox.bench.board import Board
    from pegbox.bench.mirror import Mirror
    from pegbox.bench.outlook import here, look, total
    from pegbox.bench.slurm import script
    from pegbox.bench.store import Store

    if on == "local" and (address or (not emit and (gpus or cpus != 1))):
        raise RecipeError("--address, --cpus and --gpus say what a run on a cluster asks for; they need --on ray")
    store, console = Store(out, Mirror(mirror)), Console(stderr=True)
    made = _matrix(matrix, backbone, method, task, changes)
    every = matrix_.groups(made, data)
    groups = share(every, part)
    outlooks = list(look(groups))
    if emit:
        typer.echo(script(made.name, outlooks, sys.argv[1:], int(max(cpus, 1)), gpus))
        return
    count = workers or os.cpu_count() or 1
    _print_plan(outlooks, total(outlooks, store, count, here(count)), count)
    if plan:
        return
    possible = [each.group for each in outlooks if each.plan]
    if not possible:
        raise RecipeError(f"matrix '{made.name}': none of its runs can be; the reasons are above")
    sizes = {each.group.key: each.memory_bytes for each in outlooks}
    board = Board(possible, store, existing, sizes, _room(on))
    looked = {each.group.key: each.refused for each in outlooks}
    store.keep(made, sum(each.count for each in every) if part else board.total(), count, looked)
    try:
        _work(board, _runner(board, on, count, Asked(cpus, gpus, workers), address), console)
    except KeyboardInterrupt:
        console.print(f"pegbox: interrupted; the same command goes on, {len(board.done)} runs are finished")
        raise typer.Exit(130) from None
    _print_scores(board, store, made.score)
    for name, problem in board.failed.items():
        console.print(f"failed: {escape(name)}: {escape(problem)}", soft_wrap=True)
    if board.failed:
        raise typer.Exit(FAILED)


@benching.command()
def watch(
    runs: Annotated[Path, typer.Argument(help="The folder that `pegbox bench` writes to.")],
    every: Annotated[float, typer.Option(help="Seconds between two looks.")] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Look once and end.")] = False,
) -> None:
    """Follow a matrix that is running: what is done, runs, waits and failed, the best so far, and the time left."""
    from rich.live import Live

    from pegbox.bench.progress import see

    sight = see(runs)
    if once:
        Console().print(_picture(sight))
        return
    with Live(_picture(sight), console=Console(), refresh_per_second=4) as live:
        while sight.left:
            time.sleep(every)
            sight = see(runs)
            live.update(_picture(sight))


def _matrix(file: str, backbone: Many, method: Many, task: Many, changes: Many) -> "Matrix":
    from pegbox.bench import matrix as matrix_

    settings = override(matrix_.settings(file), changes or [])
    made = matrix_.make(settings | ({"backbones": backbone} if backbone else {}))
    made = matrix_.under(made, method) if method else made
    return matrix_.only(made, task) if task else made


def share(groups: "list[Group]", part: str) -> "list[Group]":
    """Returns the i-th of n shares of some groups, `part` being i/n, or all of them."""
    if not part:
        return groups
    try:
        number, of = (int(word) for word in part.split("/"))
    except ValueError:
        number, of = 0, 0
    if not 1 <= number <= of:
        raise RecipeError(f"--part {part}: write it as i/n with i from 1 to n, such as 3/8")
    return groups[number - 1 :: of]


@dataclass(frozen=True)
class Asked:
    """What a run on a cluster asks for."""

    cpus: float
    gpus: float
    most: int  # runs at once; 0: all that the cluster holds


def _room(on: str) -> float:
    from pegbox.bench.local import room

    return room() if on == "local" else math.inf


def _runner(board: "Board", on: str, workers: int, asked: Asked, address: str) -> "Callable[[Told], None]":
    if on == "local":
        from pegbox.bench import local

        return lambda told: local.work(board, workers, told)
    try:
        from pegbox.bench import ray
    except ImportError:
        raise RecipeError("--on ray needs the library ray: pip install 'pegbox[ray]'") from None
    return lambda told: ray.work(board, asked.cpus, asked.gpus, address, told, asked.most)


def _work(board: "Board", run: "Callable[[Told], None]", console: Console) -> None:
    started, total = time.perf_counter(), board.total()

    def told(cell: "Cell", outcome: "Outcome") -> None:
        ended = len(board.done) + len(board.failed)
        place = f"{cell.task} · {cell.backbone} · {cell.method} · seed {cell.seed}"
        place += ("" if cell.fold is None else f" · fold {cell.fold}") + (
            "" if cell.rate == 1 else f" · {cell.rate:g}×"
        )
        said = _said(board.store, cell) if outcome.state == "done" else f"failed: {outcome.problem}"
        console.print(f"{ended:>4}/{total}  {escape(place)}  {escape(said)}  {outcome.seconds:.0f} s", soft_wrap=True)

    if board.done:
        console.print(f"{len(board.done)} of {total} runs are finished already")
    run(told)
    console.print(f"{len(board.done)} of {total} runs finished, {time.perf_counter() - started:.0f} s")


def _said(store: "Store", cell: "Cell") -> str:
    run = store.recorded(cell)
    return f"{run.metric} {run.score:.4f}"


def _print_plan(outlooks: "Sequence[Outlook]", sums: "Total", workers: int) -> None:
    console = Console()
    for each in outlooks:
        if not each.plan:
            task, backbone, method = each.group.key
            console.print(f"skipped: {escape(f'{method} on {task} with {backbone}: {each.refused}')}", soft_wrap=True)
    table = Table(show_header=False)
    source = "from the runs that are finished" if sums.measured else "from a short test of this machine"
    for name, value in (
        ("runs", f"{sums.runs:,}, of which {sums.left:,} are to be done"),
        ("skipped", f"{sums.refused:,} combinations"),
        ("time", f"about {sums.minutes:,.0f} minutes with {workers} processes ({source})"),
        ("memory", f"about {sums.memory_bytes / 1e6:,.0f} MB a process"),
        ("cache", f"at most {sums.cache_bytes / 1e6:,.1f} MB"),
        ("artefacts", f"about {sums.artefact_bytes / 1e6:,.1f} MB"),
    ):
        table.add_row(name, value)
    console.print(table)


def _print_scores(board: "Board", store: "Store", score: str) -> None:
    from pegbox.bench.tables import lines, written

    found = lines(board.finals(), store)
    tasks = list(dict.fromkeys(task for line in found for task in line.scores))
    metrics = {task: score.runs[0].metric for line in found for task, score in line.scores.items()}
    several = len({line.backbone for line in found}) > 1
    points = {(line.backbone, line.method): f"{line.points:.1f}" for line in found if score == "superb"}
    heads = [f"{task}\n{metrics[task]}" for task in tasks]
    heads += ["rank", *([f"SUPERB score\nover {len(tasks)} tasks"] if points else []), "trained"]
    table = Table(*(["backbone"] if several else []), "method", *heads)
    for line in sorted(found, key=lambda line: line.rank):
        name = [line.backbone] if several else []
        fields = [written(line.scores.get(task)) for task in tasks]
        rest = [f"{line.rank:.2f}", *([points[line.backbone, line.method]] if points else []), f"{line.parameters:,}"]
        table.add_row(*map(escape, (*name, line.method)), *fields, *rest)
    width = None if sys.stdout.isatty() else 60 + 18 * len(tasks)
    Console(width=width).print(table)


def _picture(sight: "Sight") -> Table:
    table = Table("", "", title=f"{sight.done} of {sight.total} done", show_header=False)
    for name, value in sight.told():
        table.add_row(name, escape(value))
    return table
