"""A folder of audio with one sub-folder a class, or `train`, `valid` and `test` folders of such."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from pegbox.corpora import _draw
from pegbox.errors import CorpusError
from pegbox.rows import Row


@dataclass(frozen=True)
class Folder:
    """Rows from `root/<class>/*` or `root/<split>/<class>/*`; `label` names the label; missing splits are drawn."""

    root: str
    label: str = "class"
    valid: float = 0.1
    test: float = 0.1
    seed: int = 0

    disjoint: ClassVar[str | None] = None

    @property
    def stratify(self) -> str:
        """The class: draws are even over it."""
        return self.label

    def rows(self) -> list[Row]:
        """Returns the rows with splits, by id."""
        root = _draw.folder(self.root)
        parts = [path for path in sorted(root.iterdir()) if path.is_dir()]
        if parts and all(path.name.lower() in _draw.SPLIT_NAMES for path in parts):
            rows = [row for part in parts for row in self._classes(part, _draw.SPLIT_NAMES[part.name.lower()])]
        else:
            rows = self._classes(root, "")
        if not rows:
            raise CorpusError(f"{self.root}: no audio in sub-folders; a folder a class is expected, as in dog/1.wav")
        return _draw.draw(rows, self.valid, self.test, self.seed, None, self.label)

    def _classes(self, root: Path, split: str) -> list[Row]:
        return [
            Row(str(path.relative_to(self.root)), str(path), {self.label: each.name}, split)
            for each in sorted(root.iterdir())
            if each.is_dir()
            for path in _draw.audio_files(each)
        ]
