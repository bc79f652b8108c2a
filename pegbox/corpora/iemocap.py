"""IEMOCAP: ten actors in five sessions, with emotions (Busso et al., LREV 2008, doi:10.1007/s10579-008-9076-6)."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final, Literal

from pegbox.corpora import _read
from pegbox.rows import Row, by_fold

SESSIONS: Final = (1, 2, 3, 4, 5)
FOUR: Final = {"neu": "neutral", "hap": "happy", "exc": "happy", "ang": "angry", "sad": "sad"}
ALL: Final = ("ang", "dis", "exc", "fea", "fru", "hap", "neu", "oth", "sad", "sur", "xxx")
JUDGED: Final = re.compile(r"\[(\d+\.\d+) - (\d+\.\d+)\]\s+(\S+)\s+(\S+)\s+\[")
SAID: Final = re.compile(r"(Ses\w+) \[[\d.]+-[\d.]+\]: (.*)")
GET: Final = "ask for IEMOCAP at https://sail.usc.edu/iemocap/ and unpack it so that Session1/ to Session5/ lie here"


@dataclass(frozen=True)
class Iemocap:
    """Rows with the labels `emotion`, `speaker`, `part` (improvised or scripted) and `transcript` where there is one.

    Four classes as in SUPERB, excited counted as happy; or with `classes=11` the release's codes as they are. A fold is
    a session: `fold` is tested, and of the other sessions speakers with about the share `valid` of the clips are held
    out, so that no speaker stands in two splits. `part` keeps one kind of dialogue.
    """

    root: str
    fold: int = 5
    classes: Literal[4, 11] = 4
    part: Literal["all", "improvised", "scripted"] = "all"
    valid: float = 0.2
    seed: int = 0

    disjoint: ClassVar[str | None] = "speaker"
    stratify: ClassVar[str | None] = None

    def rows(self) -> list[Row]:
        """Returns the rows with splits, by id."""
        needs = [f"Session{number}" for number in SESSIONS]
        root = _read.root(self.root, needs, GET, "IEMOCAP_full_release")
        rows, faults = list[Row](), list[str]()
        for number in SESSIONS:
            rows += self._session(root / f"Session{number}", number, faults)
        _read.refuse(root, faults)
        return by_fold(_read.ordered(rows, root), self.fold, self.valid, self.seed, "speaker")

    def _session(self, place: Path, number: int, faults: list[str]) -> Iterator[Row]:
        texts = _texts(place / "dialog" / "transcriptions")
        for path in _read.files(place / "dialog" / "EmoEvaluation", ".txt"):
            part = "improvised" if "impro" in path.stem else "scripted"
            if self.part not in ("all", part):
                continue
            for _, _, name, code in JUDGED.findall("\n".join(_read.lines(path, "latin-1"))):
                if code not in ALL or not name.startswith(f"{path.stem}_"):
                    faults.append(f"{path.name}: '{name}' with the emotion '{code}' does not belong here")
                elif self.classes == 11 or code in FOUR:
                    labels = {"emotion": code if self.classes == 11 else FOUR[code], "part": part}
                    labels |= {"speaker": f"{number}{name.rpartition('_')[2][0]}"}
                    labels |= {"transcript": texts[name]} if name in texts else {}
                    sound = place / "sentences" / "wav" / path.stem / f"{name}.wav"
                    yield Row(name, str(sound), labels, fold=number)


def _texts(place: Path) -> dict[str, str]:
    """Returns what was said, by utterance, where the release's transcriptions are unpacked."""
    if not place.is_dir():
        return {}
    found = (SAID.match(line) for path in _read.files(place, ".txt") for line in _read.lines(path, "latin-1"))
    return {match[1]: match[2].strip() for match in found if match}
