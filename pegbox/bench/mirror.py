"""A second place for runs at any address that fsspec knows, for clusters whose nodes share no folder."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import fsspec

from pegbox.errors import PegboxError

_EVERY: Final = 60.0  # seconds between two copies of an unfinished run


@dataclass
class Mirror:
    """Copies runs to an address and back; an empty address does nothing."""

    address: str = ""
    _copied: dict[str, float] = field(default_factory=dict)

    def fetch(self, place: Path) -> None:
        """Brings the files of a run here, unless it is finished here already."""
        if self.address and not (place / "result.json").exists():
            self._do(lambda: self._get(place))

    def send(self, place: Path) -> None:
        """Copies a run to the address, its result last, so that what is finished there is whole."""
        if self.address:
            self._do(lambda: self._put(place))
            self._copied[place.name] = time.monotonic()

    def send_now_and_then(self, place: Path) -> None:
        """Copies an unfinished run, at most once a minute."""
        if time.monotonic() - self._copied.setdefault(place.name, time.monotonic()) > _EVERY:
            self.send(place)

    def _get(self, place: Path) -> None:
        system, root = fsspec.core.url_to_fs(self.address)
        folder = f"{root}/{place.name}"
        found = system.find(folder) if system.exists(folder) else []
        for path in sorted(found, key=lambda each: each.endswith("/result.json")):
            own = place / path.removeprefix(folder).lstrip("/")
            own.parent.mkdir(parents=True, exist_ok=True)
            system.get_file(path, str(own))

    def _put(self, place: Path) -> None:
        system, root = fsspec.core.url_to_fs(self.address)
        files = [path for path in sorted(place.rglob("*")) if path.is_file() and path.suffix != ".part"]
        for path in sorted(files, key=lambda each: each.name == "result.json"):
            goal = f"{root}/{place.name}/{path.relative_to(place).as_posix()}"
            system.makedirs(goal.rpartition("/")[0], exist_ok=True)
            system.put_file(str(path), goal)

    def _do(self, what: Callable[[], None]) -> None:
        try:
            what()
        except (OSError, ValueError, ImportError) as problem:  # no room, an unknown protocol, its library is missing
            raise PegboxError(f"{self.address}: cannot be reached or written: {problem}") from problem
