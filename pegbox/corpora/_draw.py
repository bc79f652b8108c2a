"""What several corpora share: finding audio files, and drawing the splits that a corpus does not have."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from pegbox.errors import CorpusError
from pegbox.rows import Row, hold_out

SUFFIXES: Final = {".wav", ".flac", ".ogg", ".mp3", ".aif", ".aiff", ".opus", ".au", ".caf", ".w64"}
SPLIT_NAMES: Final = {
    "train": "train",
    "training": "train",
    "valid": "valid",
    "validation": "valid",
    "dev": "valid",
    "test": "test",
    "testing": "test",
    "eval": "test",
}


def audio_files(root: Path) -> list[Path]:
    """Returns the audio files right inside a folder, sorted."""
    return sorted(path for path in root.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())


def folder(root: str) -> Path:
    """Returns an existing folder, or says that it is missing."""
    path = Path(root)
    if not path.is_dir():
        raise CorpusError(f"{root}: no such folder")
    return path


def draw(
    rows: Sequence[Row], valid: float, test: float, seed: int, group: str | None, stratify: str | None
) -> list[Row]:
    """Fills in what is missing: all splits where no row has one, else only a validation part."""
    found = list(rows)
    bare = sum(not row.split for row in found)
    if 0 < bare < len(found):
        raise CorpusError(f"{bare} of {len(found)} rows name no split, the others do; fill it or filter them out")
    if bare:
        if valid + test >= 1:
            raise CorpusError(f"valid={valid} and test={test}: together less than 1, or nothing is left to train on")
        found = [replace(row, split="train") for row in found]
        found = hold_out(found, test, seed, group, "test", stratify)
        valid = valid / (1 - test)
    if not any(row.split == "valid" for row in found):
        found = hold_out(found, valid, seed + 1, group, "valid", stratify)
    return found
