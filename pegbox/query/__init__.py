"""Query by example: which recordings hold a spoken query, by the hidden states of one layer; nothing is trained.

As SUPERB does it (arXiv:2105.01051, QbE): every layer is tried with the queries that validate, the best one is tested.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from pegbox import backbones, corpora
from pegbox import rows as rows_
from pegbox.backbones import Backbone
from pegbox.errors import CorpusError, RecipeError
from pegbox.places import cache_folder
from pegbox.query._match import fits
from pegbox.query._score import score
from pegbox.rows import Row
from pegbox.surgery import put
from pegbox.training.cache import Layout, StateCache
from pegbox.training.crew import default_device

__all__ = ["score", "search"]

Watch = Callable[[int, float], None]


@dataclass(frozen=True)
class Queries:
    """The rows of a corpus by what they are: queries by split, and the documents that all of them are sought in."""

    asked: dict[str, list[Row]]
    documents: list[Row]

    @property
    def all(self) -> list[Row]:
        """Every row, queries first."""
        return [*self.asked["valid"], *self.asked["test"], *self.documents]


def search(
    source: str,
    corpus: str,
    folder: str | Path,
    watch: Watch = lambda layer, value: None,
    cache: str = "",
    gain: float = 0.0,
) -> dict[str, Any]:
    """Returns the best layer and its scores, and writes them with every query's scores into a folder.

    `corpus` is a spec whose rows have the labels `role`, "query" or "document", and of queries `documents`, ids joined
    by ','. `watch` is told each layer and its MTWV on the queries that validate. Hidden states go to the cache folder.
    All sound is `gain` dB louder than it is; SUPERB has -3.

    Raises:
        RecipeError, CorpusError, WeightsError: an encoder without frames, or rows that are not such.
    """
    queries = _queries(corpus, gain)
    backbone = backbones.load(source, "fp32").to(default_device())
    if backbone.hop is None:
        raise RecipeError(f"{source}: {backbone.family.name}'s states are no time axis, in which a query can be found")
    states = _states(backbone, queries, Path(cache or cache_folder()))
    values = {}
    for layer in range(backbone.depth + 1):
        values[layer] = score(_rows(states, queries, "valid", layer))["mtwv"]
        watch(layer, values[layer])
    best = max(values, key=lambda layer: values[layer])
    said = {split: _rows(states, queries, split, best) for split in ("valid", "test")}
    result = {
        "backbone": {"source": source, "digest": backbone.digest},
        "corpus": corpus,
        "gain": gain,
        "documents": len(queries.documents),
        "queries": {split: len(rows) for split, rows in queries.asked.items()},
        "layer": best,
        "layers": [values[layer] for layer in sorted(values)],
        "scores": {split: score(rows) for split, rows in said.items()},
    }
    _write(Path(folder), result, [row for rows in said.values() for row in rows])
    return result


def _queries(spec: str, gain: float) -> Queries:
    corpus = corpora.build(spec)
    rows = corpus.rows()
    rows_.check(rows, corpus.disjoint)
    rows = [replace(row, gain=gain) for row in rows]
    documents = [row for row in rows if row.labels.get("role") == "document"]
    asked = {
        split: [row for row in rows if row.labels.get("role") == "query" and row.split == split]
        for split in ("valid", "test")
    }
    counts = {"documents": len(documents)} | {f"queries of '{split}'": len(part) for split, part in asked.items()}
    empty = [name for name, count in counts.items() if not count]
    if empty:
        raise CorpusError(f"{spec}: no {' and no '.join(empty)}; the label 'role' says 'query' or 'document'")
    known = {row.id for row in documents}
    strange = [
        f"{row.id}: {name}" for part in asked.values() for row in part for name in _true(row) if name not in known
    ]
    if strange:
        raise CorpusError(f"{spec}: {len(strange)} queries' documents are none: {strange[:8]}")
    return Queries(asked, documents)


def _states(backbone: Backbone, queries: Queries, folder: Path) -> StateCache:
    """Returns the hidden states of every clip at every depth, computed where they are not stored yet."""
    layout = Layout("states", tuple(range(backbone.depth + 1)), backbone.width, "fp32")
    cache = StateCache(folder, backbone, layout)
    frames = [backbone.frames(round(rows_.seconds(row) * backbone.rate)) for row in cache.missing(queries.all)]
    cache.check_room(sum(map(layout.size, frames)))
    for _ in cache.fill(queries.all):
        pass
    return cache


def _rows(states: StateCache, queries: Queries, split: str, layer: int) -> list[dict[str, Any]]:
    """Returns one plain row a query: id, split, the true documents, and how well it fits into each."""

    def at(rows: Sequence[Row]) -> list[Tensor]:  # each (frames, width)
        return [states.get(row)[layer].to(default_device()) for row in rows]

    names = [row.id for row in queries.documents]
    found = fits(at(queries.asked[split]), at(queries.documents))
    return [
        {"id": row.id, "split": split, "true": _true(row), "fits": dict(zip(names, each, strict=True))}
        for row, each in zip(queries.asked[split], found.tolist(), strict=True)
    ]


def _true(row: Row) -> list[str]:
    return [name for name in row.labels.get("documents", "").split(",") if name]


def _write(folder: Path, result: dict[str, Any], rows: Sequence[dict[str, Any]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    put(folder / "predictions.jsonl", "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    put(folder / "result.json", json.dumps(result, indent=1))
