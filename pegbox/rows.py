"""Rows of labelled audio: what a corpus yields, checked, stored as JSONL, and split without leaks."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from pegbox import audio
from pegbox.errors import CorpusError

SPLITS: Final = ("train", "valid", "test")


@dataclass(frozen=True)
class Row:
    """One labelled clip: a file or a part of it, in seconds."""

    id: str
    audio: str
    labels: Mapping[str, str] = field(default_factory=dict)
    split: str = ""
    fold: int | None = None
    start: float = 0.0
    end: float | None = None
    gain: float = 0.0  # dB by which it is heard louder than the file is


def wave(row: Row, rate: int) -> np.ndarray:
    """Returns a row's sound at a sampling rate, mono float32, as loud as the row says; errors are `audio.read`'s."""
    found = audio.read(row.audio, rate, row.start, row.end)
    return found * np.float32(10 ** (row.gain / 20)) if row.gain else found


def seconds(row: Row) -> float:
    """Returns a row's length from its times or its file's header."""
    return (audio.info(row.audio).seconds if row.end is None else row.end) - row.start


def write(path: str | Path, rows: Iterable[Row]) -> None:
    """Writes a JSONL manifest whole or not at all."""
    part = Path(f"{path}.part")
    part.write_text("".join(json.dumps(asdict(row), ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    part.replace(path)


def load(path: str | Path) -> list[Row]:
    """Reads a JSONL manifest written by `write`."""
    try:
        lines = Path(path).read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except (OSError, UnicodeDecodeError) as problem:
        raise CorpusError(f"{path}: cannot be read as a manifest ({problem})") from None
    rows = []
    for number, line in enumerate(lines if lines != [""] else [], 1):
        try:
            rows.append(_typed(Row(**json.loads(line))))
        except (ValueError, TypeError, RecursionError) as problem:
            raise CorpusError(f"{path}: line {number} is no row ({problem})") from None
    return rows


def check(rows: Sequence[Row], disjoint: str | None = None) -> None:
    """Refuses rows that cannot be trusted, listing the first of everything that is wrong and counting it all.

    Raises:
        CorpusError: no rows, ids twice, files missing or unreadable, times outside the file, unknown splits, or a
            value of the label `disjoint` in two splits.
    """
    if not rows:
        raise CorpusError("the corpus has no rows; look at its folder and filter")
    wrong = [
        f"id '{name}' stands {count} times" for name, count in Counter(row.id for row in rows).items() if count > 1
    ]
    for row in rows:
        if row.split not in ("", *SPLITS):
            wrong.append(f"{row.id}: unknown split '{row.split}'; known: train, valid, test")
        try:
            _check_times(row)
        except CorpusError as problem:
            wrong.append(str(problem))
    wrong += _torn(rows, disjoint) if disjoint else []
    if wrong:
        more = f"\n  … and {len(wrong) - 8} more" if len(wrong) > 8 else ""
        raise CorpusError(f"{len(wrong)} faults in {len(rows)} rows:\n  " + "\n  ".join(wrong[:8]) + more)


def hold_out(
    rows: Sequence[Row],
    share: float,
    seed: int = 0,
    group: str | None = None,
    into: str = "valid",
    stratify: str | None = None,
) -> list[Row]:
    """Moves about `share` of the training rows into another split, by whole groups and evenly over classes.

    The draw depends on ids, group names and seed alone, not on the order of rows. Training keeps at least one group,
    and with a share above 0 and two groups or more the other split gets at least one.
    """
    if not 0 <= share < 1:
        raise CorpusError(f"{into}={share}: a share from 0 up to, not including, 1")
    members: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row.split == "train":
            members[_group(row, group)].append(row)
    moved = _drawn(members, share, seed, stratify) if share and len(members) > 1 else set()
    return [replace(row, split=into) if row.split == "train" and _group(row, group) in moved else row for row in rows]


def by_fold(
    rows: Sequence[Row], fold: int, valid: float, seed: int = 0, group: str | None = None, stratify: str | None = None
) -> list[Row]:
    """Returns rows with one fold as the test part and a share of the others held out for validation."""
    folds = sorted({row.fold for row in rows if row.fold is not None})
    if fold not in folds:
        raise CorpusError(f"fold {fold}: the corpus has {'folds ' + str(folds) if folds else 'no folds'}")
    split = [replace(row, split="test" if row.fold == fold else "train") for row in rows if row.fold is not None]
    return hold_out(split, valid, seed, group, "valid", stratify)


_FIELDS: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "id": str,
        "audio": str,
        "labels": dict,
        "split": str,
        "fold": int | None,
        "start": int | float,
        "end": int | float | None,
        "gain": int | float,
    }
)


def _typed(row: Row) -> Row:
    """Returns a row read from JSON, or a TypeError that names the field of a wrong type."""
    for name, kind in _FIELDS.items():
        value = getattr(row, name)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise TypeError(f"{name} is {value!r}")
    if not all(isinstance(value, str) for value in row.labels.values()):
        raise TypeError(f"labels are texts, found {row.labels}")
    return row


def _check_times(row: Row) -> None:
    length = audio.info(row.audio).seconds
    end = length if row.end is None else row.end
    if not 0 <= row.start < end <= length + 1e-6:
        raise CorpusError(f"{row.id}: times {row.start} to {end} s in a file of {length:.3f} s; correct them")


def _torn(rows: Sequence[Row], label: str) -> list[str]:
    places: dict[str, set[str]] = defaultdict(set)
    wrong = []
    for row in rows:
        try:
            if row.split:
                places[_label(row, label)].add(row.split)
        except CorpusError as problem:
            wrong.append(str(problem))
    torn = [f"{label} '{name}' stands in {sorted(splits)}" for name, splits in places.items() if len(splits) > 1]
    return wrong + torn


def _label(row: Row, name: str) -> str:
    if name not in row.labels:
        raise CorpusError(f"{row.id}: no label '{name}' to draw or keep splits apart by; it has {sorted(row.labels)}")
    return row.labels[name]


def _group(row: Row, label: str | None) -> str:
    return row.id if label is None else _label(row, label)


def _drawn(members: Mapping[str, Sequence[Row]], share: float, seed: int, stratify: str | None) -> set[str]:
    kinds = {name: _class(group, stratify) for name, group in members.items()}
    sizes: Counter[str] = Counter()
    for name, group in members.items():
        sizes[kinds[name]] += len(group)
    wanted = {kind: size * share for kind, size in sizes.items()}
    short = sizes.total() * share
    order = sorted(members, key=lambda name: blake2b(f"{seed} {name}".encode(), digest_size=8).digest())
    chosen: set[str] = set()
    reached: set[str] = set()
    for each_class in (True, False):  # then classes too small for a share of their own make up what lacks together
        for name in order[:-1]:
            kind, size = kinds[name], len(members[name])
            due = wanted[kind] if each_class else 0 if kind in reached else short
            if due >= size / 2:
                wanted[kind] -= size
                short -= size
                chosen.add(name)
                reached.add(kind)
    return chosen or {min(order, key=lambda name: abs(len(members[name]) - short))}


def _class(group: Sequence[Row], stratify: str | None) -> str:
    """Returns the commonest class of a group, whatever the order of its rows."""
    counted = Counter("" if stratify is None else _label(row, stratify) for row in group)
    return min(counted, key=lambda name: (-counted[name], name))
