"""The report's tables as plain text: a leaderboard a suite, every run, failures, published numbers."""

import math
from collections.abc import Iterator, Sequence

from pegbox.bench.planned import Planned
from pegbox.bench.published import Number
from pegbox.bench.recorded import Place, Recorded, Score
from pegbox.bench.report.board import Board, Column, Row
from pegbox.bench.report.formats import Table
from pegbox.bench.report.read import Collection, Failed


def leaderboard(board: Board) -> Table:
    """Returns one leaderboard: mean ± deviation [interval] by task."""
    names = [f"{column.task} ({column.metric}, {column.better})" for column in board.columns]
    head = ("backbone", "method", "rank", *names, "trained", "seconds", "kB")
    rows = [
        [row.backbone, _method(row), _rank(row, len(board.columns)), *_scores(row, board.columns), *_costs(row)]
        for row in board.rows
    ]
    return Table(f"Leaderboard {board.suite}".strip(), head, rows, 2)


def numbers(board: Board) -> Table:
    """Returns the same leaderboard for machines: a row a cell, a column a number."""
    head = (
        *("suite", "backbone", "method", "settings", "task", "metric", "better", "split", "mean", "deviation"),
        *("low", "high", "runs", "rank", "tasks ranked", "trained", "seconds", "artefact kB"),
    )
    rows = [
        [
            *(board.suite, row.backbone, row.method, row.extra, column.task, column.metric, column.better),
            *(column.split, *_figures(row.entries[column.task]), exact(row.rank), str(row.ranked)),
            *(str(row.trained), exact(row.seconds), exact(row.kilobytes)),
        ]
        for row in board.rows
        for column in board.columns
        if column.task in row.entries
    ]
    return Table(f"Leaderboard {board.suite}".strip(), head, rows, 8)


def runs(found: Sequence[Recorded]) -> Table:
    """Returns every run with its place, score and cost."""
    head = (
        *("run", "suite", "task", "backbone", "method", "role", "metric", "split"),
        *("rate", "seed", "fold", "score", "trained", "seconds", "artefact bytes", "best step", "steps"),
    )
    rows = [
        [
            *(run.name, run.cell.suite, run.cell.task, run.cell.backbone, run.cell.method, run.role),
            *(run.metric, run.split, exact(run.cell.rate), str(run.cell.seed)),
            *("" if run.cell.fold is None else str(run.cell.fold), exact(run.score), str(run.trained)),
            *(exact(run.wall), *(str(run.result.get(k, "")) for k in ("artefact_bytes", "best_step", "steps"))),
        ]
        for run in found
    ]
    return Table("Runs", head, rows, 8)


def counts(found: Collection) -> Table:
    """Returns how many runs are how far."""
    return Table("Runs", tuple(found.counts), [[str(count) for count in found.counts.values()]], 0)


def lacking(found: Sequence[Planned]) -> Table:
    """Returns the runs that a matrix plans and that are not done, and what of it cannot be."""
    head = ("state", "suite", "task", "backbone", "method", "role", "reason", "seed", "fold", "rate")
    rows = [
        [
            *(each.state, each.place.suite, each.place.task, each.place.backbone, each.place.method, each.role),
            *(each.reason, *(("", "", "") if each.state == "skipped" else _trial(each.place))),
        ]
        for each in found
    ]
    return Table("Runs that are not done", head, rows, 7)


def failures(found: Sequence[Failed]) -> Table:
    """Returns the runs that failed, and why."""
    return Table("Failed runs", ("run", "kind", "message"), [[f.name, f.kind, f.message] for f in found], 3)


def published(found: Sequence[Number]) -> Table:
    """Returns published numbers with their source, certainty and defect."""
    head = ("suite", "source", "table", "backbone", "method", "task", "metric", "unit", "certainty", "defect", "note")
    rows = [
        [
            *(each.suite, f"{each.source} ({each.reference})", each.table, each.backbone, each.method, each.task),
            *(each.metric, each.unit, each.certainty, each.defect, each.note),
            *(exact(each.value), "" if each.deviation is None else exact(each.deviation)),
            "" if each.trained is None else str(each.trained),
        ]
        for each in found
    ]
    return Table("Published numbers, not of these runs", (*head, "value", "deviation", "trained"), rows, 11)


def exact(value: float) -> str:
    """Returns a number with six digits that count."""
    return "nan" if math.isnan(value) else f"{value:.6g}"


def _trial(place: Place) -> tuple[str, str, str]:
    fold = "" if place.fold is None else str(place.fold)
    return str(place.seed), fold, "" if math.isnan(place.rate) else exact(place.rate)


def _method(row: Row) -> str:
    return f"{row.method} · {row.extra}" if row.extra else row.method


def _rank(row: Row, columns: int) -> str:
    some = f" ({row.ranked} of {columns} tasks)" if row.ranked < columns else ""
    return "–" if math.isnan(row.rank) else f"{row.rank:.2f}{some}"


def _costs(row: Row) -> tuple[str, str, str]:
    return f"{row.trained:,}", f"{row.seconds:.1f}", f"{row.kilobytes:,.0f}"


def _scores(row: Row, columns: Sequence[Column]) -> Iterator[str]:
    for column in columns:
        entry = row.entries.get(column.task)
        yield "–" if entry is None else _told(entry)


def _told(entry: Score) -> str:
    spread = "" if entry.deviation is None else f" ± {entry.deviation:.4f}"
    interval = "" if entry.interval is None else f" [{entry.interval.low:.4f}, {entry.interval.high:.4f}]"
    return ("nan" if math.isnan(entry.mean) else f"{entry.mean:.4f}") + spread + interval


def _figures(entry: Score) -> tuple[str, ...]:
    interval, deviation = entry.interval, entry.deviation
    low, high = ("", "") if interval is None else (exact(interval.low), exact(interval.high))
    return exact(entry.mean), "" if deviation is None else exact(deviation), low, high, str(len(entry.runs))
