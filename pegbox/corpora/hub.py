"""Any Hugging Face dataset with an audio column, by `datasets` (https://huggingface.co/docs/datasets)."""

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

from pegbox.corpora._draw import SPLIT_NAMES, draw
from pegbox.corpora._read import ordered
from pegbox.errors import CorpusError, nearest
from pegbox.places import cache_folder
from pegbox.rows import Row


@dataclass(frozen=True)
class Hub:
    """Rows of a dataset of the hub, or of a local folder of parquet files; other columns are labels.

    Class numbers become names, lists are joined by ',', nested columns are left out. `splits` renames the dataset's
    splits, as in {"train.100": "train"}, and then reads only those; `valid` and `test` draw missing ones. The sounds'
    own bytes are taken undecoded and read by soundfile like any file: they are kept in `$PEGBOX_CACHE/hub` by digest.
    Needs the extra: pip install 'pegbox[hub]'.
    """

    name: str
    config: str = ""
    revision: str = ""
    audio: str = "audio"
    id: str = ""
    splits: dict[str, str] = field(default_factory=dict)
    disjoint: str | None = None
    stratify: str | None = None
    valid: float = 0.1
    test: float = 0.0
    seed: int = 0

    def rows(self) -> list[Row]:
        """Returns the rows with splits, by id; writes the sounds that are not in the cache."""
        found = [row for part, table in self._tables().items() for row in self._part(table, *part)]
        return draw(ordered(found, self.name), self.valid, self.test, self.seed, self.disjoint, self.stratify)

    def _tables(self) -> dict[tuple[str, str], Any]:
        """Returns (dataset's split, our split) → table."""
        try:
            from datasets import exceptions, load_dataset
        except ImportError:
            raise CorpusError(f"{self.name}: datasets is not installed; pip install 'pegbox[hub]'") from None
        try:
            found = load_dataset(self.name, self.config or None, revision=self.revision or None)
        except (OSError, ValueError, RuntimeError, exceptions.DatasetsError) as problem:
            why = f"{self.name}: datasets cannot load it ({problem.__cause__ or problem})"
            raise CorpusError(f"{why}; see its name and config; for a folder of sounds there is 'folder'") from None
        known = self.splits or {split: SPLIT_NAMES.get(split.lower(), "") for split in found}
        for split, ours in known.items():
            if split not in found:
                raise CorpusError(f"{self.name}: no split '{split}'{nearest(split, found)}")
            if ours not in ("train", "valid", "test"):
                raise CorpusError(f"{self.name}: which split is '{split}'? Give splits={{'{split}': 'train'}} or so")
        alone = len(found) == 1 and not self.splits  # a dataset without parts calls all of itself train
        return {(split, "" if alone and self.test else ours): found[split] for split, ours in known.items()}

    def _part(self, table: Any, name: str, split: str) -> list[Row]:
        from datasets import Audio

        for column in (self.audio, *([self.id] if self.id else [])):
            if column not in table.column_names:
                raise CorpusError(f"{self.name}: no column '{column}'{nearest(column, table.column_names)}")
        rows = []
        for number, line in enumerate(table.cast_column(self.audio, Audio(decode=False))):
            label = {key: _text(value, table.features[key]) for key, value in line.items() if key != self.audio}
            labels = {key: text for key, text in label.items() if text and key != self.id}
            row = str(line[self.id]) if self.id else f"{name}/{number:07d}"
            rows.append(Row(row, _kept(line[self.audio], row), labels, split))
        return rows


def _text(value: Any, feature: Any) -> str:
    """Returns a plain cell as text, empty where it is nothing or nested."""
    inner = getattr(feature, "feature", None)
    if isinstance(value, list) and inner is not None:
        return ",".join(filter(None, (_text(item, inner) for item in value)))
    if isinstance(value, int) and callable(naming := getattr(feature, "int2str", None)):
        return str(naming(value)) if value >= 0 else ""  # -1: unknown class
    return str(value) if isinstance(value, str | int | float) else ""


def _kept(cell: Mapping[str, Any] | None, row: str) -> str:
    """Returns the path of a cell's sound, written under the digest of its bytes where it has no file of its own."""
    content, path = (cell or {}).get("bytes"), (cell or {}).get("path") or ""
    if content is None:
        if not path:
            raise CorpusError(f"{row}: the audio cell is empty; filter it out")
        return str(path)
    place = cache_folder() / "hub" / (blake2b(content, digest_size=16).hexdigest() + Path(path).suffix)
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        number, part = tempfile.mkstemp(dir=place.parent)
        with os.fdopen(number, "wb") as file:
            file.write(content)
        Path(part).replace(place)
    return str(place)
