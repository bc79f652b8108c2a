"""Rows as batches: by seconds, with length buckets, from audio or from the cache."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

import numpy as np
import torch
from torch import Tensor

from pegbox import rows as rows_
from pegbox.backbones import Backbone, Network
from pegbox.errors import RecipeError
from pegbox.rows import Row, seconds
from pegbox.training import masking, mixing
from pegbox.training.cache import FRONT, StateCache
from pegbox.training.model import Batch

_BUCKET: Final = 50  # batches that are sorted by length together
HELD_BYTES: Final = 2 * 2**30  # decoded audio kept in memory


class Feed:
    """Makes batches of rows; `cache` holds them filled, or None to read audio, of which `most` bytes are kept.

    Where nothing is cached, `shared` depths are computed once a batch for all models that are asked one after another.
    """

    def __init__(
        self,
        backbone: Network,
        cache: StateCache | None,
        most: int = HELD_BYTES,
        shared: tuple[int, ...] = (),
    ) -> None:
        self.backbone, self.cache, self.most, self.shared = backbone, cache, most, shared
        self._last: tuple[tuple[Row, ...], Batch] | None = None
        self._held: dict[tuple[str, float, float | None, float], np.ndarray] = {}
        self._held_bytes = 0

    def batch(self, rows: Sequence[Row]) -> Batch:
        """Returns these rows as one padded batch on the CPU."""
        if self.cache is None:
            return self._prefix(tuple(rows)) if self.shared else self._waves(rows)
        if any(isinstance(row, mixing.Mixed | masking.Masked) for row in rows):
            raise RecipeError("clips are mixed and masked as sound, but these are in the cache; set cache.use=false")
        frames = torch.tensor([self.cache.frames(row) for row in rows])
        stored = [self.cache.get(row) for row in rows]
        layout = self.cache.layout
        x = torch.stack(stored) if layout.kind == "pooled" else _padded(stored, int(frames.max()))
        return Batch(tuple(rows), layout.kind, x, frames, frames, layout.depths)

    def _waves(self, rows: Sequence[Row]) -> Batch:
        waves = [self._heard(row) for row in masking.bare(rows)]
        lengths = torch.tensor([len(wave) for wave in waves])
        frames = torch.tensor([self.backbone.frames(len(wave)) for wave in waves])
        x = torch.zeros(len(waves), int(lengths.max()))
        for place, wave in zip(x, waves, strict=True):
            place[: len(wave)] = torch.from_numpy(wave)
        hides = any(isinstance(row, masking.Masked) for row in rows)
        return Batch(tuple(rows), "wave", x, lengths, frames, (), torch.tensor(masking.hidden(rows)) if hides else None)

    def _prefix(self, rows: tuple[Row, ...]) -> Batch:
        """Returns the frozen part of a batch on the network's device, as a cache would hold it."""
        if self._last is None or self._last[0] != rows:
            self._last = None  # its memory is needed
            self._last = rows, self._computed(self._waves(rows))
        return self._last[1]

    @torch.no_grad()
    def _computed(self, batch: Batch) -> Batch:
        assert isinstance(self.backbone, Backbone)  # a synthesis network shares nothing
        wave = batch.x.to(next(self.backbone.core.parameters()).device)
        if self.shared == FRONT:
            found, frames = self.backbone.convolve(wave, batch.lengths)
            return Batch(batch.rows, "front", found[:, None], frames, frames, FRONT)
        states = islice(self.backbone.fold(self.backbone.stem(wave, batch.lengths, batch.hidden)), self.shared[-1] + 1)
        x = torch.stack([state for depth, state in enumerate(states) if depth in self.shared], 1)
        return Batch(batch.rows, "states", x, batch.frames, batch.frames, self.shared)

    def _heard(self, row: Row) -> np.ndarray:
        if isinstance(row, mixing.Mixed):
            return mixing.heard(self.wave(row), self.wave(row.partner), row.share)
        return self.wave(row)

    def wave(self, row: Row) -> np.ndarray:
        """Returns a row's sound, kept in memory as long as there is room."""
        place = (row.audio, row.start, row.end, row.gain)
        if place in self._held:
            return self._held[place]
        wave = rows_.wave(row, self.backbone.rate)
        self.backbone.fits(len(wave), row.id)
        if self._held_bytes + wave.nbytes <= self.most:
            self._held[place] = wave
            self._held_bytes += wave.nbytes
        return wave


def shuffled(rows: Sequence[Row], limit: float, clips: int, seed: int, epoch: int) -> list[list[Row]]:
    """Returns one epoch's batches: random, but alike in length, of at most `limit` padded seconds and `clips` clips."""
    draw = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    order = [rows[i] for i in torch.randperm(len(rows), generator=draw).tolist()]
    lengths = [seconds(row) for row in order]
    typical = max(1, min(clips, int(limit / max(sum(lengths) / len(lengths), 1e-3))))
    batches = []
    for start in range(0, len(order), _BUCKET * typical):
        batches += _packed(sorted(order[start : start + _BUCKET * typical], key=seconds), limit, clips)
    return [batches[i] for i in torch.randperm(len(batches), generator=draw).tolist()]


def in_order(rows: Sequence[Row], limit: float, clips: int) -> Iterator[list[Row]]:
    """Yields batches for evaluation, sorted by length."""
    yield from _packed(sorted(rows, key=lambda row: (seconds(row), row.id)), limit, clips)


def _packed(rows: Sequence[Row], limit: float, clips: int) -> list[list[Row]]:
    batches: list[list[Row]] = []
    current: list[Row] = []
    for row in rows:  # ascending lengths: the newest row is the longest
        if current and (len(current) == clips or (len(current) + 1) * seconds(row) > limit):
            batches.append(current)
            current = []
        current.append(row)
    return [*batches, current] if current else batches


def _padded(stored: Sequence[Tensor], time: int) -> Tensor:  # each (stored, time, width) → (batch, stored, time, width)
    first = stored[0]
    x = first.new_zeros(len(stored), first.shape[0], time, first.shape[2])
    for place, states in zip(x, stored, strict=True):
        place[:, : states.shape[1]] = states
    return x
