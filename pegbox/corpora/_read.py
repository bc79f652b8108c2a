"""What readers of official layouts share: the unpacked root, lists, tables, and refusals that count."""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from pegbox.corpora._draw import SUFFIXES
from pegbox.errors import CorpusError
from pegbox.rows import Row, hold_out


class _Bare(csv.excel):
    quoting = csv.QUOTE_NONE


def root(path: str, needs: Iterable[str], get: str, inside: str = "") -> Path:
    """Returns the folder that holds all of `needs`: `path`, or the folder `inside` it.

    Raises:
        CorpusError: it is missing or lies otherwise; `get` says where it comes from and how it must lie.
    """
    if not Path(path).is_dir():
        raise CorpusError(f"{path}: no such folder; {get}")
    inner = Path(path) / inside
    place = inner if inside and inner.is_dir() else Path(path)
    lacking = [name for name in needs if not (place / name).exists()]
    if lacking:
        raise CorpusError(f"{place}: no {', no '.join(lacking)} here; {get}")
    return place


def folders(place: Path) -> list[Path]:
    """Returns the folders right inside a folder, sorted, without hidden ones."""
    return sorted(path for path in place.iterdir() if path.is_dir() and not path.name.startswith("."))


def files(place: Path, suffix: str) -> list[Path]:
    """Returns the files of one suffix right inside a folder, sorted, without what macOS leaves behind (`._x.txt`)."""
    if not place.is_dir():
        raise CorpusError(f"{place}: no such folder; the release is not unpacked whole")
    found = (path for path in place.iterdir() if path.suffix.lower() == suffix and not path.name.startswith("."))
    return sorted(path for path in found if path.is_file())


def sounds(place: Path) -> dict[str, Path]:
    """Returns stem → path of the audio files in and below a folder; refuses two of one stem."""
    found: dict[str, Path] = {}
    faults = []
    for path in sorted(place.rglob("*")):
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file():
            if path.stem in found:
                faults.append(f"{found[path.stem]} and {path} bear one name")
            found[path.stem] = path
    refuse(place, faults)
    return found


def lines(path: Path, encoding: str = "utf-8-sig") -> list[str]:
    """Returns the lines of a text file that are not blank."""
    try:
        text = path.read_text(encoding=encoding)
    except (OSError, UnicodeDecodeError) as problem:
        raise CorpusError(f"{path}: cannot be read as a list ({problem})") from None
    return [line for line in text.split("\n") if line.strip()]


def table(path: Path, columns: Sequence[str], delimiter: str = ",", quoted: bool = True) -> list[dict[str, str]]:
    """Returns the lines of a table with a header, with at least these columns."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            dialect = csv.excel if quoted else _Bare
            reader = csv.DictReader(file, dialect=dialect, delimiter=delimiter, strict=quoted)
            found, header = list(reader), reader.fieldnames or []
    except (OSError, UnicodeDecodeError, csv.Error) as problem:
        raise CorpusError(f"{path}: cannot be read as a table ({problem})") from None
    lacking = [name for name in columns if name not in header]
    if lacking:
        raise CorpusError(f"{path}: no column {', '.join(lacking)}; it has {', '.join(header) or 'none'}")
    torn = [number for number, line in enumerate(found, 2) if None in line or None in line.values()]
    refuse(path, [f"row {number} has not {len(header)} cells" for number in torn])
    return found


def refuse(place: object, faults: Sequence[str]) -> None:
    """Raises a CorpusError that counts the faults and shows the first, if there are any."""
    if faults:
        more = f"\n  … and {len(faults) - 8} more" if len(faults) > 8 else ""
        raise CorpusError(
            f"{place}: {len(faults)} faults in its lists:\n  " + "\n  ".join(each[:300] for each in faults[:8]) + more
        )


def ordered(rows: Iterable[Row], place: object) -> list[Row]:
    """Returns rows by id, or says that there are none."""
    found = sorted(rows, key=lambda row: row.id)
    if not found:
        raise CorpusError(f"{place}: no clips of this corpus here; see that the release is unpacked whole")
    return found


def validated(rows: Sequence[Row], share: float, seed: int, group: str | None, stratify: str | None) -> list[Row]:
    """Returns rows with a share of the training part held out for validation, where the release has none."""
    return hold_out([replace(row, split=row.split or "train") for row in rows], share, seed, group, "valid", stratify)
