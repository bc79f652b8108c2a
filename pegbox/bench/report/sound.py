"""Audio of the clips that runs got wrong most often: inside the page as MP3, or as links to the files."""

import base64
import io
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal
from urllib.parse import quote

import soundfile

from pegbox import audio, registry
from pegbox.bench.recorded import Recorded
from pegbox.bench.report.seen import Clip
from pegbox.errors import PegboxError
from pegbox.rows import Row

Mode = Literal["none", "embed", "link"]
CLIPS: Final = 20  # a corpus
LONGEST: Final = 12.0  # seconds
LIMIT: Final = 12_000_000  # bytes of all sounds in a page
_RATE: Final = 16_000


@dataclass(frozen=True)
class Sounds:
    """Address of a clip's sound by corpus and id, and what could not be had."""

    addresses: Mapping[tuple[str, str], str]
    notes: tuple[str, ...]


def sounds(found: Iterable[tuple[Recorded, Sequence[Clip]]], mode: Mode, out: Path) -> Sounds:
    """Returns where the sounds are that most runs got wrong, until the page is full.

    A corpus that is not at hand costs its sounds and a note. Corpora are read as they are for training: one that
    Pegbox makes itself is made again where it is gone.
    """
    if mode == "none":
        return Sounds({}, ())
    counted: dict[str, Counter[str]] = {}
    for run, worst in found:
        counted.setdefault(run.settings["corpus"], Counter()).update({clip.id: 1 for clip in worst})
    addresses: dict[tuple[str, str], str] = {}
    notes, left = [], LIMIT
    for corpus, clips in counted.items():
        try:
            rows = _rows(corpus, {name for name, _ in clips.most_common(CLIPS)})
            made = {(corpus, row.id): _embedded(row) if mode == "embed" else _linked(row, out) for row in rows}
        except PegboxError as problem:
            notes.append(f"no sounds of {corpus}: {problem}")
            continue
        for key, address in made.items():
            if len(address) <= left:
                addresses[key], left = address, left - len(address)
    return Sounds(addresses, tuple(notes))


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
