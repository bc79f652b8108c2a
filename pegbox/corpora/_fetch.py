"""Fetches a corpus's official archives: checked by their checksums, and unpacked whole or not at all.

A corpus file writes as plain data where they lie: `ARCHIVES`, part → (address, checksum, bytes or 0 where they are not
known, folder of the root to unpack in, and of a split zip its earlier volumes: address, checksum, bytes), `LICENCE`,
and `GET`, which says how to get it by hand. A corpus without archives (no open licence, no
stable address, or no checksum that is known) is refused with its `GET`.
"""

import logging
import shutil
import tarfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Final

from filelock import FileLock

from pegbox import registry
from pegbox.corpora import _volumes
from pegbox.errors import CorpusError, RecipeError, nearest
from pegbox.places import room

STATE: Final = ".pegbox"  # in the root: downloads, what is being unpacked, and a receipt an archive
_CHUNK: Final = 1 << 20


@dataclass(frozen=True)
class Archive:
    """One official archive; `size` in bytes is 0 where it is not known, `checksum` is `sha256:…` or `md5:…`."""

    url: str
    checksum: str
    size: int
    folder: str
    volumes: tuple[tuple[str, str, int], ...] = ()  # of a split zip, before this one: address, checksum, size

    @property
    def file(self) -> str:
        """Its file name."""
        return PurePosixPath(self.url).name

    @property
    def pieces(self) -> tuple["Archive", ...]:
        """What is to be downloaded, in order."""
        return (*(replace(self, url=url, checksum=sum_, size=size) for url, sum_, size in self.volumes), self)

    @property
    def bytes(self) -> int:
        """The size of all pieces; 0 where it is not known."""
        sizes = [piece.size for piece in self.pieces]
        return sum(sizes) if all(sizes) else 0


@dataclass(frozen=True)
class Fetched:
    """One part that lies whole on this disk: the folder it is unpacked in, its files, and whether it is fresh."""

    part: str
    place: Path
    files: int
    fresh: bool


def archives(name: str) -> dict[str, Archive]:
    """Returns part → archive of a corpus; none where it cannot be fetched."""
    listed = registry.literals("corpora", name).get("ARCHIVES", {})
    return {part: Archive(*each) for part, each in listed.items()}


def licence(name: str) -> str:
    """Returns under which licence a corpus comes, as its file says."""
    return str(registry.literals("corpora", name).get("LICENCE", ""))


def fetch(name: str, root: str | Path, parts: Sequence[str] = (), progress: bool = False) -> list[Fetched]:
    """Fetches and unpacks parts of a corpus below `root`; what was fetched before and lies there whole stays.

    Raises:
        RecipeError: the corpus or a part is unknown, or it has several parts and none is named.
        CorpusError: it cannot be fetched (the message says how to get it), the disk lacks room, the network fails, an
            archive is not the official one, or cannot be unpacked. Nothing of a wrong or torn download is left.
    """
    chosen, place = _chosen(name, parts), Path(root)
    state = place / STATE
    try:
        state.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise CorpusError(f"{place}: cannot be written to ({problem}); name a folder of your own") from None
    with FileLock(state / "lock"):
        _sweep(state)
        _refuse_full(place, [each for each in chosen.values() if not _whole(place, each)])
        return [_one(place, part, each, progress) for part, each in chosen.items()]


def _chosen(name: str, parts: Sequence[str]) -> dict[str, Archive]:
    known = archives(name)
    if not known:
        get = registry.literals("corpora", name).get("GET", "it is no release with an address of its own")
        raise CorpusError(f"{name}: cannot be fetched; {get}")
    sizes = ", ".join(f"{part} ({_gigabytes(each.bytes)})" for part, each in known.items())
    if not parts and len(known) > 1:
        raise RecipeError(f"{name}: say which parts to fetch: {sizes}")
    for part in parts:
        if part not in known:
            raise RecipeError(f"{name}: no part '{part}'{nearest(part, known)}; parts: {sizes}")
    return {part: known[part] for part in (parts or known)}


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size else "size not known"


def _sweep(state: Path) -> None:
    """Takes away what a run that was killed left half done; pooch names its unfinished files `tmp…`."""
    shutil.rmtree(state / "unpacked", ignore_errors=True)
    for path in state.glob("tmp*"):
        path.unlink()


def _refuse_full(place: Path, wanted: Sequence[Archive]) -> None:
    """Raises a CorpusError where the disk cannot hold the archives and, at the least, as much again unpacked."""
    pieces = [piece for each in wanted for piece in each.pieces]
    there = [any((folder / piece.file).is_file() for folder in (place, place / STATE)) for piece in pieces]
    need = sum(piece.size * (1 if lies else 2) for piece, lies in zip(pieces, there, strict=True))
    free = room(place)
    if free < need:
        raise CorpusError(f"{place}: {_gigabytes(free)} free, at least {_gigabytes(need)} needed; make room")


def _receipt(place: Path, archive: Archive) -> Path:
    return place / STATE / f"{archive.file}.txt"


def _whole(place: Path, archive: Archive) -> int:
    """Returns how many files of an archive lie here, as its receipt lists them; 0 if any lacks or is cut.

    A file of two archives, such as a README, may be of either's size.
    """
    checksum, *listed = _lines(_receipt(place, archive))
    known = {line for receipt in (place / STATE).glob("*.txt") for line in _lines(receipt)}
    paths = [place / line.partition("\t")[2] for line in listed]
    right = checksum == archive.checksum and all(path.is_file() and _line(place, path) in known for path in paths)
    return len(paths) if right else 0


def _lines(receipt: Path) -> list[str]:
    return receipt.read_text(encoding="utf-8").splitlines() if receipt.is_file() else [""]


def _line(root: Path, path: Path) -> str:
    return f"{path.stat().st_size}\t{path.relative_to(root).as_posix()}"


def _one(place: Path, part: str, archive: Archive, progress: bool) -> Fetched:
    target, files = place / archive.folder, _whole(place, archive)
    if files:
        return Fetched(part, target, files, fresh=False)
    _receipt(place, archive).unlink(missing_ok=True)
    packed = [_download(place, piece, progress) for piece in archive.pieces]
    stage = place / STATE / "unpacked"
    try:
        unpack(packed, stage)
        names = [path.relative_to(stage) for path in sorted(stage.rglob("*")) if path.is_file()]
        target.mkdir(parents=True, exist_ok=True)
        _settle(stage, target)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError) as problem:
        raise CorpusError(f"{packed[-1]}: cannot be unpacked into {target} ({problem})") from None
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    _write(_receipt(place, archive), [archive.checksum, *(_line(place, target / name) for name in names)])
    for piece in archive.pieces:
        (place / STATE / piece.file).unlink(missing_ok=True)
    return Fetched(part, target, len(names), fresh=True)


def _download(place: Path, archive: Archive, progress: bool) -> Path:
    """Returns the archive as it was published: one put into the root by hand, or the downloaded one."""
    try:
        import pooch
        import requests
    except ImportError as problem:
        raise CorpusError(f"fetching needs pooch ({problem}): pip install 'pegbox[fetch]'") from None
    by_hand = place / archive.file
    if by_hand.is_file():
        kind, _, expected = archive.checksum.partition(":")
        found = pooch.file_hash(str(by_hand), alg=kind)
        if found != expected:
            raise CorpusError(f"{by_hand}: {kind} {found}, expected {expected}; take it away or get it again")
        return by_hand
    pooch.get_logger().setLevel(logging.WARNING)
    downloader = pooch.HTTPDownloader(progressbar=progress, chunk_size=_CHUNK)
    try:
        path = pooch.retrieve(archive.url, archive.checksum, archive.file, place / STATE, downloader=downloader)
    except (ValueError, OSError, requests.RequestException) as problem:  # ValueError: another checksum
        raise CorpusError(f"{archive.url}: {problem}; try again, or put {archive.file} into {place}") from None
    return Path(path)


def unpack(packed: Sequence[Path], stage: Path) -> None:
    """Unpacks a tar or zip archive, of a split one all volumes in order, into a folder of its own.

    Raises:
        tarfile.TarError, zipfile.BadZipFile: it is neither, is torn, or holds a name that leads out of the folder.
    """
    if not zipfile.is_zipfile(packed[-1]):
        if not hasattr(tarfile, "data_filter"):
            raise tarfile.TarError("Python below 3.11.4 unpacks without a guard against names that lead outside")
        with tarfile.open(packed[-1]) as tar:
            tar.extractall(stage, filter="data")  # refuses names, links and devices that lead outside
        return
    with _volumes.read(packed) as zipped:
        for name in zipped.namelist():
            if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                raise zipfile.BadZipFile(f"'{name}' leads out of the folder")
        zipped.extractall(stage)


def _settle(source: Path, target: Path) -> None:
    """Moves what is unpacked into its place: whole folders where they are new, so that no part lies there half."""
    for path in sorted(source.iterdir()):
        there = target / path.name
        if path.is_dir() and there.is_dir():
            _settle(path, there)
        else:
            path.replace(there)


def _write(receipt: Path, lines: Sequence[str]) -> None:
    fresh = receipt.with_suffix(".new")
    fresh.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    fresh.replace(receipt)
