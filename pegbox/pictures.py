"""Pictures by matplotlib, which the extra `plot` installs: an empty one, and its file."""

from pathlib import Path
from typing import Any

from pegbox.errors import RecipeError


def figure(width: float, height: float) -> Any:
    """Returns an empty figure of this size in inches."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise RecipeError("drawing needs matplotlib: pip install 'pegbox[plot]'") from None
    return Figure(figsize=(width, height), layout="constrained")


def save(drawn: Any, out: Path) -> None:
    """Writes a figure into a PNG, PDF or SVG file."""
    try:
        drawn.savefig(out, dpi=144)
    except ValueError as problem:
        raise RecipeError(f"{out}: {problem}") from None
