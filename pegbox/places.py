"""Where files lie that several rooms know, what a disk has room for, and who a file is by its content."""

import os
import shutil
from hashlib import blake2b, file_digest
from pathlib import Path


def cache_folder() -> Path:
    """Returns `$PEGBOX_CACHE`, or `pegbox` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(os.environ.get("PEGBOX_CACHE") or Path(base) / "pegbox")


def samples(run: Path, clip: str) -> tuple[Path, Path]:
    """Returns where a synthesis run leaves what it says of a clip, and where the clip's recording."""
    name = clip.replace("/", "-")
    return run / "samples" / f"{name}-said.wav", run / "samples" / f"{name}-reference.wav"


def room(folder: Path) -> int:
    """Returns the bytes that are free where a folder lies, or will lie."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def digest(file: Path) -> str:
    """Returns the identity of a file's bytes."""
    with file.open("rb") as opened:
        return file_digest(opened, lambda: blake2b(digest_size=16)).hexdigest()
