"""Where Pegbox keeps on this machine what it can make again."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """Returns `$PEGBOX_CACHE`, or `pegbox` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(os.environ.get("PEGBOX_CACHE") or Path(base) / "pegbox")
