"""The frozen-prefix cache: what the untouched part of a network makes of each clip, computed once.

It wraps the data and knows weights, precision, depths and audio, never a method's name, so every method, seed and
task on the same audio shares it. Clips are stored unpadded in shards that appear whole or not at all, and are read
through memory maps. Any number of processes may fill it at once: no clip is computed by two of them.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Final, Literal
from uuid import uuid4

import numpy as np
import torch
from torch import Tensor

from pegbox import audio
from pegbox import rows as rows_
from pegbox.backbones import Backbone
from pegbox.errors import PegboxError
from pegbox.places import room
from pegbox.rows import Row
from pegbox.training.claims import Claims
from pegbox.training.model import mean_over_time

_FORMAT: Final = 1
FRONT: Final = (-1,)  # the depth of what a convolution front-end makes
_SHARD_BYTES: Final = 256 * 2**20
_PORTION: Final = 64  # clips that a process claims at once

Kind = Literal["front", "states", "pooled"]


@dataclass(frozen=True)
class Layout:
    """What is stored of a clip: the hidden states at `depths`, whole or as means over time, or what a convolution
    front-end makes of it, whose depth is -1."""

    kind: Kind
    depths: tuple[int, ...]
    width: int
    precision: Literal["fp32", "bf16"]

    @property
    def dtype(self) -> torch.dtype:
        """Means are always fp32, and so is the front-end."""
        return torch.bfloat16 if self.precision == "bf16" and self.kind == "states" else torch.float32

    def size(self, frames: int) -> int:
        """Returns the bytes of a clip."""
        return len(self.depths) * (1 if self.kind == "pooled" else frames) * self.width * self.dtype.itemsize


class StateCache:
    """Hidden states of clips under one backbone and layout; `fill` before `get`."""

    def __init__(self, folder: Path, backbone: Backbone, layout: Layout) -> None:
        self.backbone, self.layout = backbone, layout
        identity = f"{_FORMAT} {backbone.digest} {backbone.precision} {layout}"
        self.folder = folder / blake2b(identity.encode(), digest_size=12).hexdigest()
        self._claims = Claims(self.folder)
        self._places: dict[str, tuple[Path, int, int]] = {}
        self._opened: set[Path] = set()
        self._maps: dict[Path, np.memmap[tuple[int], np.dtype[np.uint8]]] = {}
        self._keys: dict[tuple[str, float, float | None, float], str] = {}
        self._look()

    def missing(self, rows: Sequence[Row]) -> list[Row]:
        """Returns the rows that are not stored yet."""
        return [row for row in rows if self._key(row) not in self._places]

    def part(self, rows: Sequence[Row], index: int, count: int) -> list[Row]:
        """Returns what one of `count` processes that fill the same rows together best does of them."""
        return [row for row in rows if self._claims.stripe(self._key(row)) % count == index]

    def fill(self, rows: Sequence[Row]) -> Iterator[int]:
        """Computes and stores what is missing, yielding the number of clips done; waits for what others compute."""
        self._look()
        left: dict[int, list[Row]] = {}
        for row in self.missing(rows):
            left.setdefault(self._claims.stripe(self._key(row)), []).append(row)
        if not left:
            return
        try:
            self._claims.sweep()
            yield from self._fill(left)
        except OSError as problem:
            raise PegboxError(
                f"{self.folder}: the cache cannot be written ({problem.strerror}); "
                "make room, choose another place with cache.folder, or switch it off with cache.use=false"
            ) from problem

    def check_room(self, size: int) -> None:
        """Refuses to start filling a disk that is too small."""
        free = room(self.folder)
        if size > free:
            raise PegboxError(
                f"{self.folder}: the cache needs {size / 1e9:.2f} GB and the disk has {free / 1e9:.2f} GB free; "
                "choose another place with cache.folder, or switch it off with cache.use=false"
            )

    def get(self, row: Row) -> Tensor:  # (stored, time, width) or (stored, width)
        """Returns what is stored of a clip."""
        path, offset, frames = self._places[self._key(row)]
        if path not in self._maps:
            self._maps[path] = np.memmap(path, mode="c")
        raw = torch.from_numpy(self._maps[path][offset : offset + self.layout.size(frames)]).view(self.layout.dtype)
        pooled = self.layout.kind == "pooled"
        return raw.view(len(self.layout.depths), *(() if pooled else (frames,)), self.layout.width)

    def frames(self, row: Row) -> int:
        """Returns the real frames of a stored clip."""
        return self._places[self._key(row)][2]

    @torch.no_grad()
    def compute(self, row: Row) -> tuple[Tensor, int]:
        """Returns what is to be stored of one clip, run alone, and its frames."""
        device = next(self.backbone.core.parameters()).device
        wave = torch.from_numpy(rows_.wave(row, self.backbone.rate)).to(device)
        self.backbone.fits(len(wave), row.id)
        if self.layout.kind == "front":
            found, _ = self.backbone.convolve(wave[None], torch.tensor([len(wave)]))
            return found.to("cpu", self.layout.dtype), found.shape[1]
        state = self.backbone.stem(wave[None], torch.tensor([len(wave)]))
        wanted = {}
        for depth, x in enumerate(self.backbone.fold(state)):
            if depth in self.layout.depths:
                wanted[depth] = mean_over_time(x, None) if self.layout.kind == "pooled" else x
            if depth == self.layout.depths[-1]:
                break
        stored = torch.stack([wanted[depth][0] for depth in self.layout.depths])
        return stored.to("cpu", self.layout.dtype), state.x.shape[1]

    def _fill(self, left: dict[int, list[Row]]) -> Iterator[int]:  # by stripe
        before = 0
        while left:
            with self._claims.held({stripe: len(rows) for stripe, rows in left.items()}, _PORTION) as stripes:
                self._look()  # others may have computed them since
                rows = [row for stripe in stripes for row in left.pop(stripe)]
                missing = self.missing(rows)
                before += len(rows)
                for done in self._write(missing, stripes[0]):
                    yield before - len(missing) + done

    def _write(self, rows: Sequence[Row], stripe: int) -> Iterator[int]:
        done = 0
        while done < len(rows):
            name, items, offset = self._claims.name(stripe, uuid4().hex), {}, 0
            part = self.folder / f"{name}.part"
            try:
                with part.open("wb") as file:
                    while done < len(rows) and offset < _SHARD_BYTES:
                        stored, frames = self.compute(rows[done])
                        file.write(stored.contiguous().view(torch.uint8).numpy().tobytes())
                        items[self._key(rows[done])] = [offset, frames]
                        offset += self.layout.size(frames)
                        done += 1
                        yield done
                self._publish(part, name, items)
            finally:
                part.unlink(missing_ok=True)  # an unreadable clip, or nobody listens any more

    def _publish(self, part: Path, name: str, items: dict[str, list[int]]) -> None:
        part.replace(self.folder / f"{name}.bin")
        index = self.folder / f"{name}.json.part"
        index.write_text(json.dumps(items), encoding="utf-8")
        self._open(index.replace(self.folder / f"{name}.json"))

    def _look(self) -> None:
        """Takes in what has been stored since."""
        for index in sorted(set(self.folder.glob("*.json")) - self._opened):
            self._open(index)

    def _open(self, index: Path) -> None:
        self._opened.add(index)
        shard = index.with_suffix(".bin")
        items = json.loads(index.read_text(encoding="utf-8"))
        size = shard.stat().st_size if shard.exists() else 0
        for key, (offset, frames) in items.items():
            if offset + self.layout.size(frames) <= size:
                self._places[key] = (shard, offset, frames)

    def _key(self, row: Row) -> str:
        place = (row.audio, row.start, row.end, row.gain)
        if place not in self._keys:
            self._keys[place] = f"{audio.digest(row.audio)}:{row.start}:{row.end}" + (
                f":{row.gain}" if row.gain else ""
            )
        return self._keys[place]
