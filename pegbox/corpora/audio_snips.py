"""Audio SNIPS: the requests of SNIPS (arXiv:1805.10190) spoken by sixteen voices, as SUPERB uses them (2105.01051)."""

from dataclasses import dataclass
from typing import ClassVar, Final

from pegbox.corpora import _read
from pegbox.rows import Row

VOICES: Final = {
    "train": ("Ivy", "Joanna", "Joey", "Justin", "Kendra", "Kimberly", "Matthew", "Salli"),
    "valid": ("Aditi", "Amy", "Geraint", "Nicole"),
    "test": ("Brian", "Emma", "Raveena", "Russell"),
}
LIST: Final = "all.iob.snips.txt"
GET: Final = (
    "unpack the SNIPS of s3prl's slot filling so that all.iob.snips.txt and the folders train, valid and test lie here"
)


@dataclass(frozen=True)
class AudioSnips:
    """Rows with the labels `transcript`, `slots` (a tag a word, O for none), `intent` and `speaker`.

    Tags are the slots' names without B- and I-. The official voices of each part; other lines of the list are left out.
    """

    root: str

    disjoint: ClassVar[str | None] = "speaker"
    stratify: ClassVar[str | None] = "intent"

    def rows(self) -> list[Row]:
        """Returns the rows with splits, by id."""
        root = _read.root(self.root, [LIST, *VOICES], GET, "SNIPS")
        sounds = {split: _read.sounds(root / split) for split in VOICES}
        rows, faults = list[Row](), list[str]()
        for number, line in enumerate(_read.lines(root / LIST), 1):
            name, _, rest = line.strip().partition(" ")
            speaker, _, part = name.partition("-snips-")
            split = part.partition("-")[0]
            if speaker not in VOICES.get(split, ()):
                continue
            words, _, tags = rest.partition("\t")
            labels = _labels(words.split(), tags.split())
            if not labels or name not in sounds[split]:
                what = "its words and slots do not fit" if not labels else f"no sound in {split}/"
                faults.append(f"line {number}: {name}: {what}")
                continue
            rows.append(Row(name, str(sounds[split][name]), labels | {"speaker": speaker}, split))
        _read.refuse(root / LIST, faults)
        return _read.ordered(rows, root)


def _labels(words: list[str], tags: list[str]) -> dict[str, str]:
    """Returns labels of `BOS w1 … wn EOS` and `O s1 … sn intent`, or none where they do not fit."""
    if len(words) != len(tags) or len(words) < 3 or (words[0], words[-1]) != ("BOS", "EOS"):
        return {}
    return {"transcript": " ".join(words[1:-1]), "slots": " ".join(tags[1:-1]), "intent": tags[-1]}
