"""The leaderboard: backbone × method rows, task columns, mean over seeds and folds, intervals, ranks, costs."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Final, Literal

from pegbox.bench import statistics
from pegbox.bench.evidence import Evidence
from pegbox.bench.recorded import Recorded, Score

_PLACE: Final = ("backbone", "method", "task", "corpus", "seeds", "folds", "cache")


@dataclass(frozen=True)
class Column:
    """A task with the score that is compared on it."""

    task: str
    metric: str
    better: Literal["max", "min"]
    split: str


@dataclass(frozen=True)
class Row:
    """One way of tuning one backbone. `extra` tells settings apart where the same method was run with several."""

    backbone: str
    method: str
    extra: str
    entries: Mapping[str, Score]
    rank: float
    ranked: int

    @property
    def runs(self) -> list[Recorded]:
        """Every run of the row."""
        return [run for entry in self.entries.values() for run in entry.runs]

    @property
    def trained(self) -> int:
        """Numbers trained in the backbone, at most over the tasks."""
        return max(run.trained for run in self.runs)

    @property
    def seconds(self) -> float:
        """Mean seconds of a run, every task counting alike."""
        return fmean(fmean(run.wall for run in entry.runs) for entry in self.entries.values())

    @property
    def kilobytes(self) -> float:
        """Mean size of the artefact in kB, every task counting alike."""
        sizes = [[run.result.get("artefact_bytes", 0) for run in entry.runs] for entry in self.entries.values()]
        return fmean(map(fmean, sizes)) / 1000


@dataclass(frozen=True)
class Board:
    """The leaderboard of one suite, best mean rank first."""

    suite: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]


def boards(runs: Sequence[Recorded], seen: Mapping[str, Evidence | None], resamples: int) -> list[Board]:
    """Returns one leaderboard a suite; `seen` is each run's evidence by name, `resamples` 0 makes no intervals.

    Runs of a sweep are left out: they chose a rate on the validation part.
    """
    suites: dict[str, list[Recorded]] = defaultdict(list)
    for run in runs:
        if run.role == "final":
            suites[run.cell.suite].append(run)
    return [_board(suite, suites[suite], seen, resamples) for suite in sorted(suites)]


def _board(suite: str, runs: Sequence[Recorded], seen: Mapping[str, Evidence | None], resamples: int) -> Board:
    columns = _columns(runs)
    extras = _extras(runs)
    grouped: dict[tuple[str, str, str], dict[str, list[Recorded]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        key = (run.cell.backbone, run.cell.method, extras[run.name])
        grouped[key][_column_name(run, columns)].append(run)
    entries = {
        key: {task: _entry(each, seen, resamples) for task, each in sorted(tasks.items())}
        for key, tasks in grouped.items()
    }
    scores = {" \0".join(key): {task: e.mean for task, e in tasks.items()} for key, tasks in entries.items()}
    ranks = statistics.mean_ranks(scores, {column.task: column.better for column in columns})
    rows = [Row(*key, tasks, *ranks[" \0".join(key)]) for key, tasks in entries.items()]
    rows.sort(key=lambda row: (-row.ranked, row.rank, row.backbone, row.method, row.extra))
    return Board(suite, columns, tuple(rows), tuple(_notes(entries)))


def _columns(runs: Sequence[Recorded]) -> tuple[Column, ...]:
    """Returns the tasks; one whose runs have different scores or splits is one column each."""
    found = {(run.cell.task, run.metric, run.better, run.split): None for run in runs}
    several = Counter(task for task, *_ in found)
    named = {
        (f"{task} ({metric}, {split})" if several[task] > 1 else task): (metric, better, split)
        for task, metric, better, split in found
    }
    return tuple(Column(name, *named[name]) for name in sorted(named))


def _column_name(run: Recorded, columns: Sequence[Column]) -> str:
    long = f"{run.cell.task} ({run.metric}, {run.split})"
    return long if any(column.task == long for column in columns) else run.cell.task


def _entry(runs: Sequence[Recorded], seen: Mapping[str, Evidence | None], resamples: int) -> Score:
    ordered = tuple(sorted(runs, key=lambda run: (run.cell.fold or 0, run.cell.seed, run.name)))
    known = [found for found in (seen.get(run.name) for run in ordered) if found]
    whole = resamples > 0 and len(known) == len(ordered)
    return Score(ordered, statistics.interval(known, resamples) if whole else None)


def _extras(runs: Sequence[Recorded]) -> dict[str, str]:
    """Returns by run the settings in which it differs from others of the same place in the matrix."""
    groups: dict[tuple[str, str, str], list[Recorded]] = defaultdict(list)
    for run in runs:
        groups[run.cell.task, run.cell.backbone, run.cell.method].append(run)
    found = {}
    for group in groups.values():
        flat = {run.name: flattened(run.settings) for run in group}
        keys = sorted({key for each in flat.values() for key in each})
        varied = [key for key in keys if len({repr(each.get(key)) for each in flat.values()}) > 1]
        for name, each in flat.items():
            found[name] = ", ".join(f"{key}={each.get(key)}" for key in varied)
    return found


def flattened(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings that make an experiment beside its place in a matrix, as `train.epochs` → value."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if key not in _PLACE:
            inner = value if isinstance(value, Mapping) else {"": value}
            flat |= {f"{key}.{name}".rstrip("."): each for name, each in inner.items()}
    return flat


def _notes(entries: Mapping[tuple[str, str, str], Mapping[str, Score]]) -> list[str]:
    notes = []
    for (backbone, method, _), tasks in entries.items():
        for task, entry in tasks.items():
            counted = Counter((run.cell.seed, run.cell.fold) for run in entry.runs)
            twice = [seed for (seed, _), count in counted.items() if count > 1]
            if twice:
                notes.append(f"{task}, {backbone}, {method}: seed {twice[0]} stands {max(counted.values())} times")
    return notes
