"""Pictures: the learning curve of every trial of a run, and methods against their size. Needs the extra `plot`."""

from collections.abc import Mapping
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from pegbox import pictures
from pegbox.run import load_trials
from pegbox.training import logs


def draw(folder: Path, out: Path) -> None:
    """Draws training loss and validation score over the steps, a line a trial, into a PNG, PDF or SVG file.

    Raises:
        RecipeError: without matplotlib, or when the folder holds no finished run.
    """
    trials = load_trials(folder)
    figure = pictures.figure(9, 3.6)
    left, right = figure.subplots(1, 2)
    for run in trials:
        rows = [row for row in logs.read(run.folder) if row["event"] == "validated"]
        steps, metric = [row["step"] for row in rows], run.result["metric"]
        name = run.folder.name if len(trials) > 1 else ""
        left.plot(steps, [row["loss"] for row in rows], label=name, marker=".")
        line = right.plot(steps, [row[metric] for row in rows], label=name, marker=".")[0]
        best = next((row for row in rows if row["step"] == run.result["best_step"]), None)
        if best is not None:
            right.plot(best["step"], best[metric], marker="*", markersize=14, color=line.get_color())
    left.set(xlabel="step", ylabel="training loss", title=trials[0].recipe.method)
    right.set(xlabel="step", ylabel=f"validation {trials[0].result['metric']}", title="★ the step that was chosen")
    for axes in (left, right):
        axes.grid(alpha=0.3)
    if len(trials) > 1:
        right.legend()
    pictures.save(figure, out)


def compare(panels: Mapping[str, Mapping[str, Mapping[str, Any]]], title: str, out: Path) -> None:
    """Draws each method's mean test score, with deviation, over the numbers it trains in the backbone.

    `panels` is task → method → result of a run; a panel a task.
    """
    figure = pictures.figure(0.8 + 5.6 * len(panels), 4)
    for axes, (task, results) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        for index, (name, result) in enumerate(results.items()):
            scores = [trial["scores"]["test"][trial["metric"]] for trial in result.get("trials", [result])]
            trained, spread = max(result["parameters"]["delta"], 1), stdev(scores) if len(scores) > 1 else None
            drawn = axes.errorbar(trained, fmean(scores), yerr=spread, marker="o", capsize=3)
            place = (7, 6 if index % 2 else -14)  # neighbours in size on either side of their points
            axes.annotate(name, (trained, fmean(scores)), place, textcoords="offset points", color=drawn[0].get_color())
        axes.set(xscale="log", xlabel="numbers trained in the backbone (none at the left edge)", title=task)
        axes.set_ylabel(f"test {next(iter(results.values()))['metric']}")
        axes.margins(x=0.16, y=0.12)
        axes.grid(alpha=0.3)
    figure.suptitle(title)
    pictures.save(figure, out)
