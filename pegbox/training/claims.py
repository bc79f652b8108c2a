"""Which process computes which clips of a cache: the clips are dealt out to 256 stripes, each with a lock.

The locks are the system's own (flock): who dies, in whatever way, lets go of them.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

_STRIPES: Final = 256
_POLL: Final = 0.2  # seconds between two looks at what another process holds


class Claims:
    """The stripes of one folder. What is being written is named after a stripe that its writer holds."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @staticmethod
    def stripe(key: str) -> int:
        """Returns the stripe of a clip, the same in all processes."""
        return blake2b(key.encode(), digest_size=1).digest()[0] % _STRIPES

    @contextmanager
    def held(self, sizes: Mapping[int, int], enough: int) -> Iterator[list[int]]:
        """Holds stripes that nobody else holds, up to `enough` clips in them; where there are none, waits for one."""
        with ExitStack() as stack:
            taken: list[int] = []
            for stripe in sizes:
                if sum(sizes[each] for each in taken) >= enough:
                    break
                with suppress(Timeout):
                    stack.enter_context(self._lock(stripe).acquire(timeout=0))
                    taken.append(stripe)
            if not taken:
                taken.append(next(iter(sizes)))
                stack.enter_context(self._lock(taken[0]).acquire(poll_interval=_POLL))
            yield taken

    def name(self, stripe: int, rest: str) -> str:
        """Returns how a file is called that the holder of a stripe writes."""
        return f"{stripe:02x}-{rest}"

    def sweep(self) -> None:
        """Removes what writers left who were killed: parts, and data without its index, under stripes that are free."""
        for path in self.folder.glob("??-*"):
            with suppress(Timeout):
                if not _whole(path):
                    with self._lock(int(path.name[:2], 16)).acquire(timeout=0):
                        if not _whole(path):  # its writer may have finished since
                            path.unlink(missing_ok=True)

    def _lock(self, stripe: int) -> FileLock:
        place = self.folder / "locks"
        place.mkdir(parents=True, exist_ok=True)
        return FileLock(place / f"{stripe:02x}.lock")


def _whole(path: Path) -> bool:
    return path.suffix == ".json" or (path.suffix == ".bin" and path.with_suffix(".json").exists())
