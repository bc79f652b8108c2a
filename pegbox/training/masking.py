"""Training clips with silent parts in their spectrograms: masks of SpecAugment (arXiv:1904.08779) as AST has them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from pegbox.backbones import Backbone, Network
from pegbox.errors import RecipeError
from pegbox.recipe import Train
from pegbox.rows import Row, seconds

Hidden = tuple[int, int, int, int]  # the first band and the one behind the last, then frames likewise
_DRAWS: Final = 3  # sets these draws apart from the others of an epoch


@dataclass(frozen=True, kw_only=True)
class Masked(Row):
    """A clip, mixed or not, and what is hidden of its spectrogram."""

    clip: Row
    hidden: Hidden


def masked(rows: Sequence[Row], train: Train, network: Network, seed: int, epoch: int) -> list[Row]:
    """Returns the rows of one epoch, each with a stripe of bands and a stretch of frames hidden if the recipe asks.

    Widths are drawn evenly from 0 up to, not including, the recipe's, places evenly from where they fit: into the
    bands, and into the frames of the longest of the rows.
    """
    if not (train.mask_bands or train.mask_frames):
        return list(rows)
    assert isinstance(network, Backbone)  # `check` has refused the others
    size = network.spectrogram(round(max(map(seconds, rows)) * network.rate))
    assert size is not None
    draw = np.random.default_rng([abs(seed), epoch, _DRAWS]).random((len(rows), 4)).tolist()
    return [
        _masked(row, (*_part(bands, train.mask_bands, size[1]), *_part(frames, train.mask_frames, size[0])))
        for row, bands, frames in ((row, shares[:2], shares[2:]) for row, shares in zip(rows, draw, strict=True))
    ]


def bare(rows: Sequence[Row]) -> list[Row]:
    """Returns the rows, mixed or not, with nothing hidden."""
    return [row.clip if isinstance(row, Masked) else row for row in rows]


def hidden(rows: Sequence[Row]) -> list[Hidden]:
    """Returns what is hidden of each row; of one that is not masked it is nothing."""
    return [row.hidden if isinstance(row, Masked) else (0, 0, 0, 0) for row in rows]


def check(train: Train, network: Network) -> None:
    """Refuses to hide parts of what is no spectrogram, or more than there is."""
    asked = f"train.mask_bands={train.mask_bands}, train.mask_frames={train.mask_frames}"
    if not (train.mask_bands or train.mask_frames):
        return
    limits = network.family.spectrogram(network.config) if isinstance(network, Backbone) else None
    if limits is None:
        raise RecipeError(
            f"{asked}: {network.family.name} is given no spectrogram of fixed size, as AST is; leave it 0"
        )
    if train.mask_bands > limits[1] or train.mask_frames > limits[0]:
        raise RecipeError(f"{asked}: {network.family.name}'s spectrogram has {limits[1]} bands, {limits[0]} frames")


def _part(shares: Sequence[float], most: int, size: int) -> tuple[int, int]:
    width = int(shares[0] * most)
    first = int(shares[1] * (max(size - width, 0) + 1))
    return first, first + width


def _masked(row: Row, what: Hidden) -> Masked:
    own = (row.id, row.audio, row.labels, row.split, row.fold, row.start, row.end)
    return Masked(*own, clip=row, hidden=what)
