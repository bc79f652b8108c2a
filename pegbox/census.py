"""What a corpus holds and what is wrong with it: everything counted, nothing stopped at; and its checked manifest."""

import json
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pegbox import audio, corpora, registry
from pegbox import rows as rows_
from pegbox.errors import CorpusError
from pegbox.rows import Row

EXAMPLES: Final = 5
_MOST_VALUES: Final = 300  # a label with more values is counted, not listed
_SEVERAL: Final = ("speakers", "voices")  # names joined by ','
_SPEAKERS: Final = ("speaker", "voice", *_SEVERAL)
_COLUMNS: Final = ("id", "path", "split", "fold", "start", "end")


@dataclass(frozen=True)
class Finding:
    """One kind of thing, how often it was found, and the first few."""

    what: str
    count: int
    examples: tuple[str, ...]


@dataclass(frozen=True)
class Part:
    """One split: `values` counts the different values of each label, `labels` lists those with few of them."""

    split: str
    clips: int
    hours: float
    speakers: int | None
    values: Mapping[str, int]
    labels: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class Census:
    """What a corpus holds: its parts, sample rates, faults that forbid a run, and notes that do not."""

    corpus: str
    parts: tuple[Part, ...]
    rates: Mapping[int, int]
    faults: tuple[Finding, ...]
    notes: tuple[Finding, ...]


@dataclass
class _Found:
    """Kinds of findings with their examples, and what was read on the way."""

    kinds: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    seconds: dict[str, float] = field(default_factory=dict)  # id → length
    rates: Counter[int] = field(default_factory=Counter)

    def add(self, what: str, examples: Iterable[str]) -> None:
        self.kinds[what] += examples

    def listed(self) -> tuple[Finding, ...]:
        return tuple(Finding(what, len(found), tuple(found[:EXAMPLES])) for what, found in self.kinds.items() if found)


def spec(name: str, root: str | None = None) -> str:
    """Returns a spec from a name or spec and, if given, the value of its first needed option: mostly the root."""
    call = registry.parse(name, "corpus")[0]
    if root is None:
        return str(call)
    options = registry.describe("corpora", call.name).options
    needed = next((key for key, option in options.items() if option.default is None), "root")
    return str(registry.Call(call.name, (*call.options, (needed, root))))


def take(text: str, deep: bool = False, watch: Callable[[Sequence[Row]], Iterable[Row]] = iter) -> Census:
    """Counts a corpus and what is wrong with it; `deep` also decodes every sound and compares their bytes.

    `watch` wraps the rows while their sounds are looked at, as a progress bar does.

    Raises:
        CorpusError: its lists or layout cannot be read at all.
    """
    corpus = corpora.build(text)
    rows = corpus.rows()
    found, notes = _Found(), _Found()
    found.add("an id stands more than once", (name for name, n in Counter(row.id for row in rows).items() if n > 1))
    found.add("a row has no known split", (f"{r.id}: '{r.split}'" for r in rows if r.split not in rows_.SPLITS))
    for row in watch(rows):
        _look(row, found, deep)
    if corpus.disjoint:
        _tear(rows, corpus.disjoint, found)
    if deep:
        _compare(rows, found, notes)
    _turns(rows, found)
    keys = sorted({key for row in rows for key in row.labels})
    for key in keys:
        lacking = (row.id for row in rows if not row.labels.get(key, "").strip())
        notes.add(f"a row has no '{key}', or an empty one", lacking)
    notes.add("a sound beside the others stands in no row", _left_over(rows))
    order = {split: number for number, split in enumerate(rows_.SPLITS)}
    splits = sorted({row.split for row in rows}, key=lambda split: order.get(split, 9))
    parts = tuple(_part(split, [row for row in rows if row.split == split], found.seconds) for split in splits)
    return Census(text, parts, dict(sorted(found.rates.items())), found.listed(), notes.listed())


def prepare(text: str, out: str | Path) -> tuple[int, str]:
    """Writes a corpus's checked rows as JSONL for `manifest`; returns their number and the spec that reads them.

    Read again, the rows are the same but for a label `id`: a manifest's columns are labels. Paths in and below the
    manifest's folder are written relative to it.

    Raises:
        CorpusError: the rows cannot be trusted, or a label bears the name of a column.
    """
    if Path(out).suffix not in (".jsonl", ".json"):
        raise CorpusError(f"{out}: the manifest's name ends with .jsonl")
    corpus = corpora.build(text)
    rows = corpus.rows()
    rows_.check(rows, corpus.disjoint)
    own = {key for row in rows for key, value in row.labels.items() if (key, value) != ("id", row.id)}
    taken = sorted(own & {*_COLUMNS})
    if taken:
        raise CorpusError(f"{text}: the labels {taken} bear names of the manifest's columns; rename them")
    part = Path(f"{out}.part")
    part.write_text("".join(_line(row, Path(out).resolve().parent) for row in rows), encoding="utf-8")
    part.replace(out)
    options: dict[str, Any] = {"path": str(out), "id": "id"}
    options |= {key: name for key in ("disjoint", "stratify") if (name := getattr(corpus, key))}
    options |= {} if any(row.split == "valid" for row in rows) else {"valid": 0.0}
    return len(rows), str(registry.Call("manifest", tuple(options.items())))


def _line(row: Row, folder: Path) -> str:
    path = Path(row.audio).resolve()
    here = path.relative_to(folder) if path.is_relative_to(folder) else path
    cells = {"id": row.id, "path": str(here), "split": row.split, "fold": row.fold, "start": row.start, "end": row.end}
    return json.dumps(cells | dict(row.labels), ensure_ascii=False) + "\n"


def _look(row: Row, found: _Found, deep: bool) -> None:
    """Reads a row's header, or the whole sound, and notes what is wrong with it."""
    path = Path(row.audio)
    if not os.path.isfile(path):  # noqa: PTH113 — pathlib's raises where a name is too long
        other = _other_case(path)
        what = "a sound is there in other letters" if other else "a sound is missing"
        return found.add(what, [f"{row.id}: {path}{f' is {other}' if other else ''}"])
    try:
        about = audio.info(row.audio)
        end = about.seconds if row.end is None else row.end
        if not 0 <= row.start < end <= about.seconds + 1e-6:
            return found.add(
                "times lie outside the sound", [f"{row.id}: {row.start} to {end} of {about.seconds:.3f} s"]
            )
        if deep:
            audio.read(row.audio, about.rate, row.start, row.end)
    except CorpusError as problem:
        return found.add("a sound cannot be read", [f"{row.id}: {problem}"])
    found.seconds[row.id] = end - row.start
    found.rates[about.rate] += 1
    return None


def _other_case(path: Path) -> str:
    """Returns the name of a file that differs from a missing one in capital letters alone."""
    beside = sorted(each.name for each in path.parent.iterdir()) if path.parent.is_dir() else []
    return next((name for name in beside if name.lower() == path.name.lower()), "")


def _tear(rows: Sequence[Row], label: str, found: _Found) -> None:
    """Notes values of a label that stand in two splits; of several speakers, joined by ',', each counts."""
    places: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        whole = row.labels.get(label, "")
        for value in whole.split(",") if label in _SEVERAL else [whole]:
            places[value].add(row.split)
    torn = (f"'{value}' in {sorted(splits)}" for value, splits in sorted(places.items()) if len(splits) > 1 and value)
    found.add(f"a {label} stands in two splits", torn)
    found.add(f"a row has no '{label}' to keep splits apart by", (row.id for row in rows if label not in row.labels))


def _compare(rows: Sequence[Row], found: _Found, notes: _Found) -> None:
    """Notes sounds of the same bytes under other names: a fault where they stand in two splits."""
    same: dict[str, dict[str, Row]] = defaultdict(dict)
    for row in rows:
        if row.id in found.seconds:
            same[audio.digest(row.audio)].setdefault(row.audio, row)
    for group in same.values():
        if len(group) > 1:
            torn = len({row.split for row in group.values()}) > 1
            kind = "the same sound stands in two splits" if torn else "the same sound has several names"
            (found if torn else notes).add(kind, [", ".join(row.id for row in group.values())])


def _turns(rows: Sequence[Row], found: _Found) -> None:
    """Notes turns of speakers that do not lie inside their clip."""
    for row in rows:
        if row.id in found.seconds and "turns" in row.labels:
            try:
                turns = [(str(who), float(a), float(b)) for who, a, b in json.loads(row.labels["turns"])]
            except (ValueError, TypeError):
                found.add("turns cannot be read", [f"{row.id}: {row.labels['turns'][:60]}"])
                continue
            late = [turn for turn in turns if not 0 <= turn[1] < turn[2] <= found.seconds[row.id] + 0.01]
            found.add("a turn lies outside its clip", [f"{row.id}: {late[0]}"] if late else [])


def _left_over(rows: Sequence[Row]) -> list[str]:
    """Returns the sounds in the folders of the rows' sounds that stand in no row."""
    used = {str(Path(row.audio).absolute()) for row in rows}
    suffixes = {Path(path).suffix.lower() for path in used}
    left = []
    for folder in sorted({Path(path).parent for path in used}):
        beside = sorted(folder.iterdir()) if folder.is_dir() else []
        left += [str(path) for path in beside if path.suffix.lower() in suffixes and str(path) not in used]
    return left


def _part(split: str, rows: Sequence[Row], seconds: Mapping[str, float]) -> Part:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        for key, value in row.labels.items():
            counts[key][value] += 1
    named = next((counts[key] for key in _SPEAKERS if key in counts), None)
    people = None if named is None else len({name for value in named for name in value.split(",") if name})
    few = {key: dict(sorted(found.items())) for key, found in sorted(counts.items()) if len(found) <= _MOST_VALUES}
    hours = sum(seconds.get(row.id, 0.0) for row in rows) / 3600
    return Part(split, len(rows), hours, people, {key: len(counts[key]) for key in sorted(counts)}, few)
