"""What ESC-50 and ESC-10 share: sounds of five folds, cut from Freesound recordings (Piczak, ACM MM 2015)."""

import csv
from pathlib import Path

from pegbox.corpora import _draw
from pegbox.errors import CorpusError
from pegbox.rows import Row, by_fold


def official(root: Path, only_esc10: bool) -> list[Row]:
    """Returns rows of the release's tree, `meta/esc50.csv` and `audio/`."""
    lines = _table(root / "meta" / "esc50.csv", "filename", "fold", "category", "esc10", "src_file")
    return [
        Row(
            Path(line["filename"]).stem,
            str(root / "audio" / line["filename"]),
            {"event": line["category"], "source": line["src_file"]},
            fold=int(line["fold"]),
        )
        for line in lines
        if not only_esc10 or line["esc10"].lower() == "true"
    ]


def named(path: Path, event: str) -> Row:
    """Returns a row of a file named `{fold}-{source}-{take}…`."""
    parts = path.stem.split("-")
    if len(parts) < 3 or not parts[0].isdigit():
        raise CorpusError(f"{path}: not named {{fold}}-{{source}}-{{take}}")
    return Row(path.stem, str(path), {"event": event, "source": parts[1]}, fold=int(parts[0]))


def listed(root: Path, table: Path) -> list[Row]:
    """Returns rows of a flat folder whose events stand in a manifest with the columns path and event."""
    events = {Path(line["path"]).name: line["event"] for line in _table(table, "path", "event")}
    return [named(path, events[path.name]) for path in _draw.audio_files(root) if events.get(path.name)]


def _table(path: Path, *columns: str) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = list(csv.DictReader(file, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as problem:
        raise CorpusError(f"{path}: cannot be read as a table ({problem})") from None
    for line in lines:
        lacking = [name for name in columns if line.get(name) is None]
        if lacking or ("fold" in columns and not line["fold"].isdigit()):
            fault = f"no column {', '.join(lacking)}" if lacking else f"the fold {line['fold']!r} is no number"
            raise CorpusError(f"{path}: {fault} in the row {list(line.values())}; columns: {', '.join(columns)}")
    return lines


def split(rows: list[Row], root: str, fold: int, valid: float, seed: int) -> list[Row]:
    """Returns the rows by id with one fold as the test part; a source recording stays in one part."""
    if not rows:
        raise CorpusError(f"{root}: no sounds of this corpus here")
    return by_fold(sorted(rows, key=lambda row: row.id), fold, valid, seed, "source", "event")
