"""Pictures of a run: the learning curve of every trial. Needs the extra `plot`."""

from pathlib import Path

from pegbox.errors import RecipeError
from pegbox.run import load_trials
from pegbox.training import logs


def draw(folder: Path, out: Path) -> None:
    """Draws training loss and validation score over the steps, a line a trial, into a PNG, PDF or SVG file.

    Raises:
        RecipeError: without matplotlib, or when the folder holds no finished run.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise RecipeError("drawing needs matplotlib: pip install 'pegbox[plot]'") from None
    trials = load_trials(folder)
    figure = Figure(figsize=(9, 3.6), layout="constrained")
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
    try:
        figure.savefig(out, dpi=144)
    except ValueError as problem:
        raise RecipeError(f"{out}: {problem}") from None
