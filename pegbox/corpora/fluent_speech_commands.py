"""Fluent Speech Commands: spoken commands of a house, with action, object and location (arXiv:1904.03670)."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from pegbox.corpora import _read
from pegbox.rows import Row

PARTS: Final = {"train": "train", "valid": "valid", "test": "test"}
COLUMNS: Final = ("path", "speakerId", "transcription", "action", "object", "location")
GET: Final = (
    "ask for Fluent Speech Commands at https://fluent.ai (its licence forbids passing it on) and unpack it so that "
    "data/train_data.csv and wavs/speakers/ lie here"
)


@dataclass(frozen=True)
class FluentSpeechCommands:
    """Rows with the labels `action`, `object`, `location`, `intent` (joined by '|'), `transcript` and `speaker`.

    The official parts; no speaker stands in two of them.
    """

    root: str

    disjoint: ClassVar[str | None] = "speaker"
    stratify: ClassVar[str | None] = "intent"

    def rows(self) -> list[Row]:
        """Returns the rows with splits, by id."""
        needs = [f"data/{part}_data.csv" for part in PARTS]
        root = _read.root(self.root, needs, GET, "fluent_speech_commands_dataset")
        rows = []
        for part, split in PARTS.items():
            for line in _read.table(root / "data" / f"{part}_data.csv", COLUMNS):
                labels = {name: line[name].strip() for name in ("action", "object", "location")}
                labels |= {"intent": "|".join(labels.values()), "transcript": line["transcription"].strip()}
                labels |= {"speaker": line["speakerId"].strip()}
                name = Path(line["path"].strip())
                rows.append(Row(f"{name.parent.name}/{name.stem}", str(root / name), labels, split))
        return _read.ordered(rows, root)
