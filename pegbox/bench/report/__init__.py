"""The report on many runs: one page to look at, and the same tables as Markdown, CSV and LaTeX."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from pegbox.bench.published import Number
from pegbox.bench.published import read as read_published
from pegbox.bench.recorded import Recorded
from pegbox.bench.report import formats, page, tables
from pegbox.bench.report.board import Board, boards
from pegbox.bench.report.formats import Table
from pegbox.bench.report.read import Collection, collect
from pegbox.bench.report.seen import look
from pegbox.bench.report.sound import Mode, sounds
from pegbox.bench.statistics import RESAMPLES
from pegbox.errors import PegboxError

Watch = Callable[[Sequence[Recorded]], Iterable[Recorded]]
Published = Literal["suite", "all", "none"]


@dataclass(frozen=True)
class Options:
    """What a report shows. `audio`: sounds of clips that runs got wrong or have said; `published`: others' numbers of
    the same suites, all of them, or none; `resamples`: draws of the bootstrap, 0 for no intervals."""

    title: str = "Pegbox report"
    audio: Mode = "none"
    published: Published = "suite"
    resamples: int = RESAMPLES


def write(
    places: Sequence[Path], out: Path, options: Options | None = None, watch: Watch = lambda runs: runs
) -> list[Path]:
    """Writes the report on all runs below these folders into a folder and returns its files, the page first.

    `watch` is handed the runs while they are read, to show progress.

    Raises:
        RecipeError: no runs below the folders, or plotly is missing.
    """
    options = options or Options()
    found, charts = collect(places), page.library()  # what is missing is said before anything takes time
    looked = [(run, look(run)) for run in watch(found.runs)]
    made = boards(found.runs, {run.name: seen.evidence for run, seen in looked}, options.resamples)
    numbers = _published(options.published, {run.cell.suite for run in found.runs})
    heard = sounds(looked, options.audio, out)
    about = _about(options, found)
    shown = page.data(about, made, looked, found, numbers, heard)
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / "index.html").write_text(page.render(options.title, shown, charts), encoding="utf-8")
        return [out / "index.html", *_write_tables(out, found, made, numbers)]
    except OSError as problem:
        raise PegboxError(f"{out}: cannot write here ({problem.strerror}); choose another --out") from problem


def _published(which: Published, suites: set[str]) -> list[Number]:
    if which == "none":
        return []
    return [number for number in read_published() if which == "all" or number.suite in suites]


def _about(options: Options, found: Collection) -> dict[str, str | int]:
    return {
        "title": options.title,
        "made": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "version": version("pegbox"),
        "audio": options.audio,
        "sweep": sum(run.role == "sweep" for run in found.runs),
    }


def _write_tables(out: Path, found: Collection, made: Sequence[Board], numbers: Sequence[Number]) -> list[Path]:
    """Writes every table in three forms: what people read in one file a form, what machines read in a file a table."""
    read = [tables.counts(found), *map(tables.leaderboard, made)]
    read += [tables.lacking(found.planned)] if found.planned else []
    read += [tables.failures(found.failed)] if found.failed else []
    read += [tables.published(numbers)] if numbers else []
    rows = [tables.numbers(board) for board in made]
    whole = [Table(rows[0].title, rows[0].head, [row for table in rows for row in table.rows])] if rows else []
    named = {"leaderboard": whole, "runs": [tables.runs(found.runs)], "failed": [tables.failures(found.failed)]}
    named |= {"planned": [tables.lacking(found.planned)]} if found.planned else {}
    named |= {"published": [tables.published(numbers)]} if numbers else {}
    texts = {
        "report.md": "\n".join(map(formats.markdown, read)),
        "report.tex": "\n".join(map(formats.latex, read)),
        **{f"{name}.csv": formats.comma_separated(each) for name, parts in named.items() for each in parts},
    }
    for name, text in texts.items():
        (out / name).write_text(text, encoding="utf-8")
    return [out / name for name in texts]
