"""The report's page: one HTML file with style, scripts, plotly's library and all data inside; opens without a network.

The data stand in it once, as JSON; the scripts draw a table or a chart when it comes into sight. Names and texts of
runs reach the page as text only, never as markup.
"""

import html
import json
import math
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from importlib.resources import files
from typing import Any, Final

from pegbox.bench.published import CERTAINTIES, Number
from pegbox.bench.recorded import Recorded, Score
from pegbox.bench.report.board import Board, Row
from pegbox.bench.report.read import Collection
from pegbox.bench.report.seen import Seen
from pegbox.bench.report.sound import Sounds
from pegbox.errors import RecipeError

_SCRIPTS: Final = ("base.js", "board.js", "charts.js", "detail.js", "page.js")
_DIGITS: Final = 5  # that count, of a number that is drawn and not compared


def data(
    about: Mapping[str, Any],
    boards: Sequence[Board],
    looked: Sequence[tuple[Recorded, Seen]],
    found: Collection,
    numbers: Sequence[Number],
    sounds: Sounds,
) -> dict[str, Any]:
    """Returns all that the page shows, as JSON can hold it."""
    places = {run.name: place for place, (run, _) in enumerate(looked)}
    return {
        "about": dict(about),
        "boards": [_board(board, places) for board in boards],
        "runs": [_run(run, seen) for run, seen in looked],
        "counts": found.counts,
        "planned": [
            each.place.fields | {"state": each.state, "role": each.role, "reason": each.reason}
            for each in found.planned
        ],
        "failed": [asdict(each) for each in found.failed],
        "published": [asdict(number) for number in numbers],
        "certainties": dict(CERTAINTIES),
        "sounds": _by_owner(sounds.addresses),
        "said": _by_owner(sounds.said),
        "notes": [*(note for _, seen in looked for note in seen.notes), *_notes(boards), *sounds.notes],
    }


def library() -> str:
    """Returns the script that draws charts.

    Raises:
        RecipeError: without plotly, whose script it is.
    """
    try:
        from plotly.offline import get_plotlyjs
    except ImportError:
        raise RecipeError("the report's charts need plotly: pip install 'pegbox[report]'") from None
    return str(get_plotlyjs())


def render(title: str, shown: Mapping[str, Any], charts: str) -> str:
    """Returns the page, with the library of its charts inside."""
    assets = files("pegbox.bench.report") / "assets"
    text = {name: (assets / name).read_text(encoding="utf-8") for name in ("page.html", "page.css", *_SCRIPTS)}
    parts = {
        "title": html.escape(title),
        "style": text["page.css"],
        "data": embedded(shown),
        "plotly": charts,
        "script": "\n".join(text[name] for name in _SCRIPTS),
    }
    pieces = text["page.html"].split("@@")  # text, name, text, name … text
    return "".join(parts[piece] if place % 2 else piece for place, piece in enumerate(pieces))


def embedded(value: Any) -> str:
    """Returns JSON that cannot end the script element it stands in; what is not a number becomes null."""
    try:
        text = _json(value)
    except ValueError:  # some number is none; looking at each costs as much as all the rest
        text = _json(finite(value))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def again(run: Recorded) -> str:
    """Returns the command that runs this seed and fold once more, into another folder."""
    words = ["pegbox", "train", str(run.folder / "recipe.toml"), "--set", f"seeds=[{run.result.get('seed', 0)}]"]
    fold = run.result.get("fold")
    words += [] if fold is None else ["--set", f"folds=[{fold}]"]
    return shlex.join([*words, "--out", f"again/{run.name}"])


def _by_owner(addresses: Mapping[tuple[str, str], str]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for (owner, clip), address in addresses.items():
        found.setdefault(owner, {})[clip] = address
    return found


def _board(board: Board, places: Mapping[str, int]) -> dict[str, Any]:
    return {
        "suite": board.suite,
        "columns": [asdict(column) for column in board.columns],
        "rows": [_row(row, places) for row in board.rows],
    }


def _row(row: Row, places: Mapping[str, int]) -> dict[str, Any]:
    return {
        "backbone": row.backbone,
        "method": row.method,
        "extra": row.extra,
        "rank": row.rank,
        "ranked": row.ranked,
        "trained": row.trained,
        "share": max(run.result["parameters"].get("share", math.nan) for run in row.runs),
        "seconds": _short(row.seconds),
        "kb": _short(row.kilobytes),
        "cells": {task: _entry(entry, places) for task, entry in row.entries.items()},
    }


def _entry(entry: Score, places: Mapping[str, int]) -> dict[str, Any]:
    interval = entry.interval
    return {
        "mean": entry.mean,
        "deviation": entry.deviation,
        "low": interval and interval.low,
        "high": interval and interval.high,
        "drawn": interval and f"{interval.resamples} draws of {interval.drawn}",
        "seconds": _short(sum(run.wall for run in entry.runs) / len(entry.runs)),
        "runs": [places[run.name] for run in entry.runs],
    }


def _run(run: Recorded, seen: Seen) -> dict[str, Any]:
    result, names = run.result, sorted({name for pair in seen.confusion for name in pair})
    place = {name: number for number, name in enumerate(names)}
    return {
        "name": run.name,
        **run.cell.fields,
        "role": run.role,
        "metric": run.metric,
        "better": run.better,
        "split": run.split,
        "score": run.score,
        "scores": result["scores"],
        "parameters": result["parameters"],
        "seconds": {name: _short(value) for name, value in result["seconds"].items()},
        "wall": _short(run.wall),
        "kb": _short(result.get("artefact_bytes", 0) / 1000),
        "facts": {key: result[key] for key in ("clips", "steps", "best_step", "stopped", "chosen") if key in result},
        "curve": [[p.step, _short(p.loss), _short(p.valid_loss), _short(p.score)] for p in seen.curve],
        "layers": [round(weight, 4) for weight in seen.layers],
        "classes": names,
        "confusion": [[place[true], place[said], count] for (true, said), count in seen.confusion.items()],
        "worst": [[clip.id, clip.true, clip.said, _short(clip.wrong)] for clip in seen.worst],
        "importance": seen.importance,
        "samples": [[each.id, each.true, each.heard] for each in seen.samples],
        "corpus": run.settings["corpus"],
        "recipe": run.recipe,
        "again": again(run),
    }


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _notes(boards: Iterable[Board]) -> list[str]:
    return [note for board in boards for note in board.notes]


def _short(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")


def finite(value: Any) -> Any:
    """Returns plain data as JSON can hold them: None where a number is none."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): finite(each) for key, each in value.items()}
    return [finite(each) for each in value] if isinstance(value, list | tuple) else value
