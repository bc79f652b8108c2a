"""Miniatures of official layouts: tiny sounds, lists and tables, as a release has them."""

from collections import Counter
from pathlib import Path

import numpy as np
import soundfile

from pegbox import corpora, registry
from pegbox import rows as rows_
from pegbox.rows import Row

RATE = 16_000


def sounds(root: Path, *names: str, seconds: float = 0.05) -> Path:
    """Writes short sounds and returns the root."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        form = "MP3" if name.endswith(".mp3") else None
        soundfile.write(root / name, 0.1 * np.sin(np.arange(int(seconds * RATE))), RATE, format=form)
    return root


def text(path: Path, *lines: str, encoding: str = "utf-8") -> Path:
    """Writes lines and returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(line + "\n" for line in lines), encoding=encoding)
    return path


def made(name: str, /, **options: object) -> corpora.Corpus:
    """Builds a corpus by name, as a spec would."""
    return corpora.build(str(registry.Call(name, tuple(options.items()))))


def checked(name: str, /, **options: object) -> dict[str, Row]:
    """Returns id → row of a corpus that passes the checker and comes by id."""
    corpus = made(name, **options)
    rows = corpus.rows()
    rows_.check(rows, corpus.disjoint)
    assert [row.id for row in rows] == sorted(row.id for row in rows)
    return {row.id: row for row in rows}


def sizes(rows: dict[str, Row]) -> tuple[int, ...]:
    """Returns how many rows train, validate and test."""
    counted = Counter(row.split for row in rows.values())
    assert {*counted} <= {"train", "valid", "test"}
    return tuple(counted[split] for split in ("train", "valid", "test"))
