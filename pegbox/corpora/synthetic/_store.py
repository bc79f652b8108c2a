"""Synthetic clips, made once a seed and size in a process of their own, and kept in a folder of the user's cache."""

import hashlib
import importlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import numpy as np
import soundfile
from filelock import FileLock

from pegbox import rows as rows_
from pegbox.audio import Wave
from pegbox.corpora.synthetic import _espeak
from pegbox.corpora.synthetic._vary import RATE
from pegbox.errors import CorpusError
from pegbox.places import cache_folder
from pegbox.rows import Row

Size = Literal["small", "medium"]
Split = Literal["train", "valid", "test"]
SHARES: Final[Mapping[Split, float]] = {"train": 0.6, "valid": 0.15, "test": 0.25}


@dataclass(frozen=True)
class Clip:
    """One sound with its labels, before it is a file. `split` may be empty where folds decide."""

    wave: Wave
    labels: Mapping[str, str]
    split: str = ""
    fold: int | None = None
    beside: Mapping[str, str] = field(default_factory=dict)  # suffix → text of a file next to the sound


class Made(Protocol):
    """What a synthetic corpus is, for the store."""

    @property
    def size(self) -> Size:
        """How much of it."""

    @property
    def seed(self) -> int:
        """Everything drawn follows from it."""

    @property
    def root(self) -> str:
        """The folder to keep clips in; empty is the user's cache."""

    @property
    def speaks(self) -> bool:
        """Whether eSpeak NG is needed."""

    def count(self) -> int:
        """Returns how many clips `clips` yields."""

    def clips(self) -> Iterator[Clip]:
        """Yields all clips, the same ones in the same order for a seed."""


def counts(each: int, classes: int) -> dict[Split, int]:
    """Returns clips a split for `each` clips a class in all, whole rounds over the classes."""
    return {split: max(1, round(each * share)) * classes for split, share in SHARES.items()}


def rows(corpus: Made) -> list[Row]:
    """Returns the rows of a synthetic corpus, making its clips first where they are not there.

    Raises:
        CorpusError: eSpeak NG is missing, or the clips could not be made.
    """
    folder = place(corpus)
    if not (folder / "manifest.jsonl").exists():
        if corpus.speaks and not _espeak.available():
            raise CorpusError(f"{_name(corpus)}: {_espeak.MISSING}")
        _make_once(corpus, folder)
    return [replace(row, audio=str(folder / row.audio)) for row in rows_.load(folder / "manifest.jsonl")]


def place(corpus: Made) -> Path:
    """Returns the folder of this corpus, size, seed, and version of the code that makes it."""
    root = Path(corpus.root) if corpus.root else cache_folder() / "synthetic"
    return root / f"{_name(corpus)}-{corpus.size}-{corpus.seed}-{_version(corpus)}"


def make(corpus: Made, folder: Path) -> None:
    """Writes all clips and then their manifest; eSpeak NG must not have spoken in this process before."""
    from rich.console import Console
    from rich.progress import track

    found, console = list[Row](), Console(stderr=True)  # the output is the answer to the process that waits
    each = track(
        corpus.clips(), _name(corpus), corpus.count(), console=console, transient=True, disable=not console.is_terminal
    )
    for number, clip in enumerate(each):
        name = f"{number:05d}"
        samples = (np.clip(clip.wave, -1, 1) * 32767).astype(np.int16)
        soundfile.write(folder / f"{name}.flac", samples, RATE, subtype="PCM_16")
        for suffix, text in clip.beside.items():
            (folder / f"{name}.{suffix}").write_text(text, encoding="utf-8")
        found.append(Row(name, f"{name}.flac", dict(clip.labels), clip.split, clip.fold))
    if len(found) != corpus.count():
        raise CorpusError(f"{_name(corpus)}: {len(found)} clips made, {corpus.count()} promised")
    rows_.write(folder / "manifest.jsonl", found)


def _make_once(corpus: Made, folder: Path) -> None:
    """Makes the corpus, or waits for the process that makes it; a lock that dies with its holder tells them apart."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.parent / f".{folder.name}.lock"):
            if not (folder / "manifest.jsonl").exists():
                for left in folder.parent.glob(f".{folder.name}-*"):  # by one who was killed
                    shutil.rmtree(left, ignore_errors=True)
                _make_apart(corpus, folder)
    except OSError as problem:
        raise CorpusError(f"{folder}: cannot write here ({problem.strerror}); give root=… another folder") from None


def _make_apart(corpus: Made, folder: Path) -> None:
    """Makes the corpus in a fresh process, beside its place, and moves it there when it is whole."""
    part = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    order = [type(corpus).__module__, type(corpus).__name__, json.dumps(_settings(corpus)), str(part)]
    try:
        done = subprocess.run([sys.executable, "-m", __name__, *order], stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            raise CorpusError(f"{_name(corpus)}: could not be made: {done.stdout.strip() or 'see above'}")
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _name(corpus: Any) -> str:
    return "synthetic_" + type(corpus).__module__.rpartition(".")[2]


def _settings(corpus: Any) -> dict[str, Any]:
    """Returns what the sound of a corpus follows from: not where it lies, nor which part of it is tested."""
    return {name: value for name, value in asdict(corpus).items() if name not in ("root", "fold", "valid")}


def _version(corpus: Made) -> str:
    """Returns a digest of the settings and of the code that makes clips: other code makes other clips."""
    hasher = hashlib.blake2b(json.dumps(_settings(corpus), sort_keys=True).encode(), digest_size=4)
    for path in sorted(Path(__file__).parent.glob("*.py")):
        hasher.update(path.read_bytes())
    return hasher.hexdigest()


def _main(module: str, name: str, settings: str, folder: str) -> int:
    kind: Any = getattr(importlib.import_module(module), name)
    try:
        make(kind(**json.loads(settings)), Path(folder))
    except (CorpusError, OSError) as problem:
        print(problem)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
