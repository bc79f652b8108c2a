"""Audio of clips that runs got wrong most often, and of what synthesis runs have said: as MP3 in the page, or links."""

import base64
import io
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal
from urllib.parse import quote

import soundfile

from pegbox import audio, registry
from pegbox.bench.recorded import Recorded
from pegbox.bench.report.seen import Seen
from pegbox.errors import PegboxError
from pegbox.rows import Row

Mode = Literal["none", "embed", "link"]
Key = tuple[str, str]
CLIPS: Final = 20  # a corpus
LONGEST: Final = 12.0  # seconds
LIMIT: Final = 12_000_000  # bytes of all sounds in a page
_RATE: Final = 16_000


@dataclass(frozen=True)
class Sounds:
    """Where sounds are, and what could not be had."""

    addresses: Mapping[Key, str]  # of a clip's recording, by corpus and id
    said: Mapping[Key, str]  # of what a synthesis run says of a clip, by the run's name and id
    notes: tuple[str, ...]


def sounds(looked: Sequence[tuple[Recorded, Seen]], mode: Mode, out: Path) -> Sounds:
    """Returns where the sounds are that most runs got wrong, then where synthesis runs' samples are with their
    recordings, until the page is full.

    A corpus or a sample that is not at hand costs its sounds and a note. Corpora are read as they are for training:
    one that Pegbox makes itself is made again where it is gone. A recording that several runs have said stands once.
    """
    if mode == "none":
        return Sounds({}, {}, ())
    page = _Page(mode, out)
    for corpus, clips in _hard(looked).items():
        with page.noting(corpus):
            page.add(page.recordings, corpus, _rows(corpus, clips))
    for run, seen in looked:
        with page.noting(run.name):
            page.add(page.said, run.name, [Row(each.id, str(each.said), {}) for each in seen.samples])
            recordings = [Row(each.id, str(each.reference), {}) for each in seen.samples]
            page.add(page.recordings, run.settings["corpus"], recordings)
    return Sounds(page.recordings, page.said, tuple(page.notes))


class _Page:
    """What has found room so far."""

    def __init__(self, mode: Mode, out: Path) -> None:
        self.mode, self.out, self.left = mode, out, LIMIT
        self.recordings: dict[Key, str] = {}
        self.said: dict[Key, str] = {}
        self.notes: list[str] = []

    def add(self, addresses: dict[Key, str], owner: str, rows: Sequence[Row]) -> None:
        """Adds the sounds of rows that are not there yet, as long as there is room."""
        for row in rows:
            if (owner, row.id) in addresses or not self.left:
                continue
            address = _embedded(row) if self.mode == "embed" else _linked(row, self.out)
            if len(address) > self.left:
                self.left = 0  # full: nothing more is decoded
                continue
            addresses[owner, row.id], self.left = address, self.left - len(address)

    @contextmanager
    def noting(self, owner: str) -> Iterator[None]:
        """Notes what is not at hand."""
        try:
            yield
        except PegboxError as problem:
            self.notes.append(f"no sounds of {owner}: {problem}")


def _hard(looked: Sequence[tuple[Recorded, Seen]]) -> dict[str, set[str]]:
    """Returns the clips by corpus that stand among the worst of most runs; a corpus without any is left alone."""
    counted: dict[str, Counter[str]] = {}
    for run, seen in looked:
        counted.setdefault(run.settings["corpus"], Counter()).update({clip.id: 1 for clip in seen.worst})
    return {corpus: {name for name, _ in clips.most_common(CLIPS)} for corpus, clips in counted.items() if clips}


def _rows(corpus: str, wanted: set[str]) -> list[Row]:
    rows: list[Row] = registry.build("corpora", registry.parse(corpus, "corpus")[0], "corpus").rows()
    return [row for row in rows if row.id in wanted]


def _embedded(row: Row) -> str:
    end = audio.info(row.audio).seconds if row.end is None else row.end
    wave = audio.read(row.audio, _RATE, row.start, min(end, row.start + LONGEST))
    out = io.BytesIO()
    soundfile.write(out, wave, _RATE, format="MP3")
    return "data:audio/mpeg;base64," + base64.b64encode(out.getvalue()).decode()


def _linked(row: Row, out: Path) -> str:
    part = (
        "" if row.end is None and not row.start else f"#t={row.start:g}" + ("" if row.end is None else f",{row.end:g}")
    )
    return quote(Path(os.path.relpath(Path(row.audio).resolve(), out.resolve())).as_posix()) + part
