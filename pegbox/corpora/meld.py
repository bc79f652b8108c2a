"""MELD: utterances of the series Friends with seven emotions (Poria et al., ACL 2019, arXiv:1810.02508)."""

from dataclasses import dataclass
from typing import ClassVar, Final

from pegbox.corpora import _read
from pegbox.rows import Row

PARTS: Final = {"train": "train", "dev": "valid", "test": "test"}
EMOTIONS: Final = ("neutral", "joy", "sadness", "anger", "surprise", "fear", "disgust")
COLUMNS: Final = ("Utterance", "Speaker", "Emotion", "Dialogue_ID", "Utterance_ID")
GET: Final = (
    "unpack MELD.Raw (https://affective-meld.github.io) and take the sound out of the videos, as in ffmpeg -i "
    "dia0_utt0.mp4 -ac 1 -ar 16000 dia0_utt0.wav, so that train/, dev/, test/ and train_sent_emo.csv and so on lie here"
)


@dataclass(frozen=True)
class Meld:
    """Rows with the labels `emotion`, `speaker` and `transcript`; the official parts, which share speakers.

    Sounds without a row, such as the test folder's `final_videos_test…`, are left out. Rows without a sound are
    refused; `lost` leaves rows out, by default the two whose videos are broken or missing in the release.
    """

    root: str
    lost: tuple[str, ...] = ("train/dia125_utt3", "dev/dia110_utt7")

    disjoint: ClassVar[str | None] = None
    stratify: ClassVar[str | None] = "emotion"

    def rows(self) -> list[Row]:
        """Returns the rows with splits, by id."""
        needs = [name for part in PARTS for name in (part, f"{part}_sent_emo.csv")]
        root = _read.root(self.root, needs, GET)
        rows, faults = list[Row](), list[str]()
        for part, split in PARTS.items():
            there = {*_read.files(root / part, ".wav")}
            for line in _read.table(root / f"{part}_sent_emo.csv", COLUMNS):
                name = f"{part}/dia{line['Dialogue_ID']}_utt{line['Utterance_ID']}"
                path, emotion = root / f"{name}.wav", line["Emotion"].strip().lower()
                if name in self.lost:
                    continue
                if emotion not in EMOTIONS:
                    faults.append(f"{name}: {emotion} is no emotion of MELD")
                elif path not in there:
                    faults.append(f"{name}: no sound; give lost=['{name}']")
                labels = {"emotion": emotion, "speaker": line["Speaker"], "transcript": line["Utterance"].strip()}
                rows.append(Row(name, str(path), labels, split))
        _read.refuse(root, faults)
        return _read.ordered(rows, root)
