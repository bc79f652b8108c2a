"""Split zip archives (`.z01`, `.z02`, …, `.zip`): volumes read as one file, places in them as `zipfile` counts them."""

import io
import zipfile
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import accumulate
from pathlib import Path
from struct import Struct
from typing import Final

_END: Final = Struct("<4s4H2LH")  # the record at an archive's end; the seventh field is where its list begins


class Volumes(io.RawIOBase):
    """Files read one behind the other as if they were one."""

    def __init__(self, paths: Sequence[Path]) -> None:
        sizes = [path.stat().st_size for path in paths]
        self.starts = [0, *accumulate(sizes)]
        self._place, self._open = 0, ExitStack()
        self._files = [self._open.enter_context(path.open("rb")) for path in paths]

    def readable(self) -> bool:
        """Returns that it can be read."""
        return True

    def seekable(self) -> bool:
        """Returns that any place can be read."""
        return True

    def tell(self) -> int:
        """Returns the place."""
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Goes to a place, and returns it."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self.starts[-1]}[whence]
        if base + offset < 0:
            raise OSError(f"place {base + offset} is before the first volume")
        self._place = base + offset
        return self._place

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]
        """Fills a buffer up to the end of a volume; returns how many bytes are new."""
        number = sum(start <= self._place for start in self.starts) - 1
        if number >= len(self._files):
            return 0
        file = self._files[number]
        file.seek(self._place - self.starts[number])
        count = file.readinto(buffer)
        self._place += count
        return int(count)

    def close(self) -> None:
        """Closes the files."""
        self._open.close()
        super().close()


def read(paths: Sequence[Path]) -> zipfile.ZipFile:
    """Returns an archive of one or more volumes in their order, the one that ends in `.zip` last.

    Raises:
        zipfile.BadZipFile: they are no archive, or a volume lacks.
    """
    if len(paths) == 1:
        return zipfile.ZipFile(paths[0])
    whole = Volumes(paths)
    try:
        archive = zipfile.ZipFile(io.BufferedReader(whole))
        before = _misplaced(archive, whole)
        for info in archive.infolist():  # whose places count from the start of their volume
            if info.volume >= len(paths):
                raise zipfile.BadZipFile(f"'{info.filename}' is in volume {info.volume + 1} of {len(paths)}")
            info.header_offset += whole.starts[info.volume] - before
            if "_end_offset" in info.__slots__:  # where newer ones believe, by the former places, that its data end
                setattr(info, "_end_offset", None)  # noqa: B010
    except BaseException:
        whole.close()
        raise
    return archive


def _misplaced(archive: zipfile.ZipFile, whole: Volumes) -> int:
    """Returns by how much `zipfile` takes places to be later: it believes that something stands before the archive."""
    whole.seek(-_END.size - len(archive.comment), io.SEEK_END)
    return archive.start_dir - int(_END.unpack(whole.read(_END.size))[6])
