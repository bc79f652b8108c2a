"""LibriMix (arXiv:2005.11262) for diarization as in SUPERB (2105.01051): mixtures and who speaks in them when."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from pegbox.corpora import _read, _turns
from pegbox.rows import Row

PARTS: Final = {"train": "train", "dev": "valid", "test": "test"}
GET: Final = (
    "make Libri2Mix with https://github.com/s3prl/LibriMix and its script for diarization, so that Kaldi's folders "
    "train/, dev/ and test/ lie here, each with wav.scp and rttm, or wav.scp, segments and utt2spk"
)


@dataclass(frozen=True)
class Librimix:
    """Rows with the labels `turns` (JSON: [speaker, start, end] in seconds) and `speakers`, joined by ','.

    Turns come from `rttm`, or else from `segments` and `utt2spk`, whose ids must not repeat (one training mixture of
    the SUPERB recipe has two voices under one id, which only its `rttm` tells apart). `audio` is the folder of the
    relative paths in wav.scp, the root by default. No speaker stands in two splits, which is checked.
    """

    root: str
    audio: str = ""

    disjoint: ClassVar[str | None] = "speakers"
    stratify: ClassVar[str | None] = None

    def rows(self) -> list[Row]:
        """Returns the rows with splits, by id."""
        root = _read.root(self.root, [f"{part}/wav.scp" for part in PARTS], GET)
        rows, faults, heard = list[Row](), list[str](), dict[str, str]()
        for part, split in PARTS.items():
            turns = _found_turns(root / part)
            for name, path in _scp(root / part / "wav.scp", faults).items():
                labels = _turns.labels(turns.pop(name, []))
                for speaker in filter(None, labels["speakers"].split(",")):
                    if heard.setdefault(speaker, split) != split:
                        faults.append(f"speaker '{speaker}' stands in {heard[speaker]} and {split} ({name})")
                faults += [] if labels["speakers"] else [f"{part}: {name} has no turns"]
                rows.append(Row(name, str(Path(self.audio or root) / path), labels, split))
            faults += [f"{part}: {name} has turns and no sound in wav.scp" for name in turns]
        _read.refuse(root, faults)
        return _read.ordered(rows, root)


def _scp(path: Path, faults: list[str]) -> dict[str, str]:
    """Returns recording → path of Kaldi's wav.scp; commands are not run."""
    found: dict[str, str] = {}
    for line in _read.lines(path):
        name, _, sound = line.strip().partition(" ")
        if sound.endswith("|") or not sound.strip() or name in found:
            what = "stands twice" if name in found else "is a command or nothing; write the sounds and name their files"
            faults.append(f"{path}: {name} {what}")
        found[name] = sound.strip()
    return found


def _found_turns(place: Path) -> dict[str, list[_turns.Turn]]:
    if (place / "rttm").is_file():
        return _turns.rttm(place / "rttm")
    speakers = {line.split()[0]: line.split()[-1] for line in _read.lines(place / "utt2spk")}
    found: dict[str, list[_turns.Turn]] = {}
    faults, seen = [], set[str]()
    for line in _read.lines(place / "segments"):
        cells = line.split()
        if len(cells) != 4 or cells[0] not in speakers or cells[0] in seen:
            faults.append(f"segments: '{line.strip()}' is no utterance, recording, start, end, or stands twice")
            continue
        seen.add(cells[0])
        start, end = (_turns.seconds(cell, f"{place}/segments") for cell in cells[2:])
        found.setdefault(cells[1], []).append(_turns.Turn(speakers[cells[0]], start, end))
    _read.refuse(place, faults)
    return found
