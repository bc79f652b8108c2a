"""Any recordings with RTTM files: who speaks when, in the regions of UEM files where there are some."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from pegbox.corpora import _draw, _read, _turns
from pegbox.errors import CorpusError
from pegbox.rows import Row


@dataclass(frozen=True)
class Rttm:
    """Rows with the labels `turns` (JSON: [speaker, start, end] in seconds of the clip) and `speakers`, joined by ','.

    All `*.rttm` and `*.uem` files below `root` count, by the names of files inside them; a recording `a` is the sound
    file of that stem below `audio`, the root by default. Folders `train`, `dev` and `test` right inside the root give
    splits, else they are drawn. A recording with regions is a clip a region, any other one clip; a recording without
    turns must have a region.
    """

    root: str
    audio: str = ""
    valid: float = 0.1
    test: float = 0.1
    seed: int = 0

    disjoint: ClassVar[str | None] = None
    stratify: ClassVar[str | None] = None

    def rows(self) -> list[Row]:
        """Returns the rows with splits, by id."""
        root = _draw.folder(self.root)
        named = {path: _draw.SPLIT_NAMES[path.name.lower()] for path in _read.folders(root) if _is_split(path)}
        rows = [row for place, split in (named or {root: ""}).items() for row in self._part(place, split)]
        return _draw.draw(_read.ordered(rows, root), self.valid, self.test, self.seed, None, None)

    def _part(self, place: Path, split: str) -> list[Row]:
        sounds = _read.sounds(Path(self.audio) if self.audio else place)
        turns, faults = dict[str, list[_turns.Turn]](), list[str]()
        for path in sorted(place.rglob("*.rttm")):
            for name, found in _turns.rttm(path).items():
                faults += [f"{path}: {name} has turns in another file too"] if name in turns else []
                turns[name] = found
        if not turns:
            raise CorpusError(f"{place}: no *.rttm with SPEAKER lines here")
        regions = [region for path in sorted(place.rglob("*.uem")) for region in _turns.uem(path)]
        whole = {*turns} - {name for name, _, _ in regions}
        lost = sorted({*turns, *(name for name, _, _ in regions)} - {*sounds})
        _read.refuse(place, faults + [f"{name} has turns or regions and no sound file" for name in lost])
        rows = [Row(name, str(sounds[name]), _turns.labels(turns[name]), split) for name in whole]
        for name, start, end in regions:
            labels = _turns.labels(turns.get(name, []), start, end)
            rows.append(Row(f"{name}:{start:g}-{end:g}", str(sounds[name]), labels, split, None, start, end))
        return rows


def _is_split(path: Path) -> bool:
    return path.name.lower() in _draw.SPLIT_NAMES
