"""Where files lie that several rooms know: what Pegbox can make again, and what a run leaves as sound."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """Returns `$PEGBOX_CACHE`, or `pegbox` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(os.environ.get("PEGBOX_CACHE") or Path(base) / "pegbox")


def samples(run: Path, clip: str) -> tuple[Path, Path]:
    """Returns where a synthesis run leaves what it says of a clip, and where the clip's recording."""
    name = clip.replace("/", "-")
    return run / "samples" / f"{name}-said.wav", run / "samples" / f"{name}-reference.wav"
