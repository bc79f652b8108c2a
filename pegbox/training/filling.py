"""The cache of one layout, filled by all processes of a run together."""

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import torch

from pegbox.backbones import Backbone
from pegbox.errors import PegboxError
from pegbox.places import cache_folder
from pegbox.rows import Row
from pegbox.training.cache import Layout, StateCache
from pegbox.training.crew import Crew
from pegbox.training.prepare import frames_of
from pegbox.training.session import Session, threads


@dataclass(frozen=True)
class Cached:
    """The frozen part of some clips has been computed."""

    done: int
    total: int


def cache_of(session: Session, layout: Layout | None) -> StateCache | None:
    """Returns the cache of a layout where the recipe wants it, or None where every step reads audio."""
    if layout is None or not isinstance(session.backbone, Backbone):  # a synthesis network has no layout
        return None
    return StateCache(Path(session.recipe.cache.folder or cache_folder()), session.backbone, layout)


def threads_for(layout: Layout | None) -> AbstractContextManager[None]:
    """Returns what computes with one thread on pooled features, with all on others.

    Steps on pooled features are so small that threads wait for each other longer than they work.
    """
    return threads(1 if layout is not None and layout.kind == "pooled" else torch.get_num_threads())


def fill(cache: StateCache, rows: Sequence[Row], crew: Crew) -> Iterator[Cached]:
    """Fills the cache, each process of several its part; then what is missing here: disks may not be shared."""
    refused = None
    try:
        missing = cache.missing(rows)
        cache.check_room(sum(cache.layout.size(frames_of(row, cache.backbone)) for row in missing))
        own = cache.part(missing, crew.index, crew.count)
        for done in cache.fill(own):
            yield Cached(done, len(own))
    except (PegboxError, OSError) as problem:
        refused = problem
    crew.agree(refused)
    crew.together(lambda: deque(cache.fill(rows), maxlen=0))
