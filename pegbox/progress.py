"""What a person sees of a run: a live display while it trains, and tables when it is done."""

import json
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from pegbox.errors import RecipeError
from pegbox.training.entrant import Judged, Tried
from pegbox.training.filling import Cached
from pegbox.training.headstart import Headed
from pegbox.training.loop import Step, Validated
from pegbox.training.plans import Plan
from pegbox.training.trial import AnyEvent, Started

_OBSERVED: Final = {"dev_loss": "loss on validation", "loss": "smoothed training loss"}


class Display:
    """A listener that shows progress: nothing when silent, only the moving bar when brief."""

    def __init__(self, silent: bool = False, brief: bool = False) -> None:
        self.console, self.brief = Console(stderr=True, quiet=silent), brief
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}% {task.fields[note]}"),
        )
        self.bar = Progress(
            *columns,
            TimeRemainingColumn(),
            console=self.console,
            disable=silent or not self.console.is_terminal,
            transient=True,
        )
        self.task: TaskID | None = None
        self.best = ""

    def __enter__(self) -> "Display":
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()

    def listen(self, event: AnyEvent, folder: Path) -> None:
        """Takes one event."""
        match event:
            case Started():
                self._started(event)
            case Cached(done, total):
                self._show("cache", done / total, f"{done}/{total} clips")
            case Headed(event=Step() as first):
                self._show("head", first.progress, f"the head alone: loss {first.loss:.3f}")
            case Step():
                self._step(event)
            case Validated():
                self._validated(event)
            case Tried(_, method, Step() as tried):
                self._show("search", tried.progress, f"{method}: loss {tried.loss:.3f}")
            case Judged() if not self.brief:
                scores = ", ".join(f"{number}: {score:.4f}" for number, score in event.scores.items())
                kept = ", ".join(map(str, event.kept))
                self.console.print(f"  rung at {event.share:.0%}: candidates {scores}; {kept} goes on")

    def _started(self, event: Started) -> None:
        self.best, self.task = "", None
        for note in event.notes:
            self.console.print(f"  note: {note}")
        if self.brief:
            return
        name = f"seed {event.seed}" + (f", fold {event.fold}" if event.fold is not None else "")
        counts = ", ".join(f"{part} {number:,}" for part, number in event.parameters.items())
        self.console.print(f"[bold]{name}[/bold]  {counts}")
        self.console.print(
            f"  cache: {event.cache}" + (f", {event.cache_bytes / 1e6:.1f} MB" if event.cache_bytes else "")
        )
        if event.resumed_at:
            self.console.print(f"  going on after step {event.resumed_at}")

    def _step(self, event: Step) -> None:
        speed = event.audio_seconds / max(event.wall_seconds, 1e-9)
        self._show("train", event.progress, f"loss {event.loss:.3f}, {speed:,.0f}× real time{self.best}")

    def _validated(self, event: Validated) -> None:
        if event.best:
            metric, value = next(iter(event.scores.items()))
            self.best = f", best {metric} {value:.4f}"
        if self.brief:
            return
        scores = ", ".join(f"{name} {value:.4f}" for name, value in event.scores.items())
        star = " [bold]*[/bold]" if event.best else ""
        self.console.print(f"  step {event.step:>6}  loss {event.loss:.4f}  {scores}{star}")

    def _show(self, what: str, share: float, note: str) -> None:
        if self.task is None or self.bar.tasks[self.task].description != what:
            self.task = self.bar.add_task(what, total=1.0, note=note)
        self.bar.update(self.task, completed=share, note=note)


def read_result(folder: Path) -> dict[str, Any]:
    """Returns a run's `result.json`."""
    try:
        result: dict[str, Any] = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise RecipeError(f"{folder}: no finished run in this folder") from None
    except (OSError, ValueError) as problem:
        raise RecipeError(f"{folder}/result.json cannot be read: {problem}") from None
    if not isinstance(result, dict) or not {"scores", "trials"} & set(result):
        raise RecipeError(f"{folder}/result.json is no result of a run; train it again in another folder")
    return result


def print_result(result: dict[str, Any], folder: Path) -> None:
    """Prints scores, trained parameters by part, seconds and sizes of one trial or of a summary."""
    console = Console()
    trials = result.get("trials", [result])
    table = Table("split", "score", "mean", "deviation", "trials", title=str(folder))
    for split, scores in trials[0]["scores"].items():
        for name in scores:
            values = [each["scores"][split][name] for each in trials]
            spread = f"{result['deviation'][split][name]:.4f}" if "deviation" in result else ""
            listed = " ".join(f"{value:.4f}" for value in values)
            table.add_row(split, name, f"{sum(values) / len(values):.4f}", spread, listed)
    console.print(table)
    parameters, seconds = result["parameters"], result["seconds"]
    parts = Table("trained", "parameters", "of the backbone")
    for part in ("delta", "layers", "head"):
        parts.add_row(part, f"{parameters[part]:,}", f"{parameters[part] / parameters['backbone']:.4%}")
    console.print(parts)
    _print_search(console, result)
    found = [", ".join(f"{name} {value}" for name, value in each.get("chosen", {}).items()) for each in trials]
    if any(found):
        console.print(f"chosen for the task: {'; '.join(found)}")
    console.print("seconds: " + ", ".join(f"{name} {value:.1f}" for name, value in seconds.items()))
    console.print(f"artefact {result['artefact_bytes']:,} bytes, peak memory {result['peak_memory_mb']:,.0f} MB")


def print_plan(planned: Plan) -> None:
    """Prints what `check` found."""
    table = Table("what", "value")
    clips = ", ".join(f"{split} {count} clips ({planned.hours[split]:.2f} h)" for split, count in planned.clips.items())
    for name, value in (
        ("backbone", f"{planned.family}, {planned.parameters['backbone']:,} parameters"),
        ("features", planned.features),
        ("corpus", clips),
        ("outputs", str(planned.outputs)),
        ("trained: delta", f"{planned.parameters['delta']:,} ({planned.share:.3%} of the backbone)"),
        *((f"candidate: {method}", f"{size:,}") for method, size in planned.candidates.items()),
        ("trained: layers", f"{planned.parameters['layers']:,}"),
        ("trained: head", f"{planned.parameters['head']:,}"),
        ("cache", f"{planned.cache}, {planned.cache_bytes / 1e6:.1f} MB"),
        ("steps", f"about {planned.steps:,}"),
        ("memory", f"about {planned.memory_bytes / 1e6:,.0f} MB"),
        *(("note", note) for note in planned.notes),
    ):
        table.add_row(name, value)
    Console().print(table)


def _print_search(console: Console, result: dict[str, Any]) -> None:
    """Prints what competed in each trial, and what came out."""
    for trial in result.get("trials", [result]):
        if "search" not in trial:
            continue
        found, table = trial["search"], Table("candidate", "rate", "trained", "at the rungs", "dropped at")
        for row in found["table"]:
            scores = " ".join("NaN" if score is None else f"{score:.4f}" for score in row["scores"])
            dropped = f"{row['dropped_at']:.1%}" if "dropped_at" in row else "chosen"
            dropped += ", it does not train" if "failed" in row else ""
            table.add_row(row["method"], f"{row['rate']:g}×", f"{row['parameters']:,}", scores, dropped)
        console.print(table)
        console.print(_why(trial))


def _why(trial: dict[str, Any]) -> str:
    """Returns in a sentence what was chosen, against what, and at which cost."""
    found = trial["search"]
    observed = found.get("observe", "dev")
    metric = _OBSERVED.get(observed, f"{trial['metric']} on validation")
    last = max(len(row["scores"]) for row in found["table"])
    final = [row for row in found["table"] if len(row["scores"]) == last]
    (won,) = (row for row in final if "dropped_at" not in row)
    rate = "" if won["rate"] == 1 else f" at {won['rate']:g} times its rate"
    others = [row for row in final if row is not won and row["scores"][-1] is not None]
    against = ""
    if others:
        pick = max if trial["better"] == "max" and observed == "dev" else min
        second = pick(others, key=lambda row: row["scores"][-1])
        against = f", against {second['scores'][-1]:.4f} of {second['method']}"
    judged = won["scores"][-1]
    score = "nothing finite" if judged is None else f"{judged:.4f}"
    return (
        f"{found['chosen']}{rate} goes on: at the last rung it had {score} ({metric})"
        f"{against}; it trains {won['parameters']:,} numbers. The search and it took {found['cost']:.2f} times the "
        "steps of one training."
    )
