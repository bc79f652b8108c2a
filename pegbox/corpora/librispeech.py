"""LibriSpeech: read English books, with text (Panayotov et al., ICASSP 2015; https://www.openslr.org/12)."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from pegbox.corpora import _read
from pegbox.corpora._lexicon import Lexicon
from pegbox.rows import Row

GET: Final = "unpack https://www.openslr.org/12 so that LibriSpeech/<part>/<speaker>/<chapter>/ lies here"


@dataclass(frozen=True)
class Librispeech:
    """Rows with the labels `transcript`, `speaker` and `chapter`, and `phonemes` where a `lexicon` is given.

    `train`, `valid` and `test` name the official parts; the defaults are SUPERB's. `lexicon` lists files of
    `WORD  PH PH PH`, such as the official `librispeech-lexicon.txt`: the first pronunciation of a word counts, and a
    word without one is refused. No speaker stands in two splits.
    """

    root: str
    train: tuple[str, ...] = ("train-clean-100",)
    valid: tuple[str, ...] = ("dev-clean",)
    test: tuple[str, ...] = ("test-clean",)
    lexicon: tuple[str, ...] = ()

    disjoint: ClassVar[str | None] = "speaker"
    stratify: ClassVar[str | None] = None

    def rows(self) -> list[Row]:
        """Returns the rows with splits, by id."""
        parts = {part: name for name in ("train", "valid", "test") for part in getattr(self, name)}
        root = _read.root(self.root, parts, GET, "LibriSpeech")
        words, faults = Lexicon(self.lexicon), list[str]()
        rows = [row for part, split in parts.items() for row in self._part(root / part, split, words, faults)]
        _read.refuse(root, faults)
        words.refuse()
        return _read.ordered(rows, root)

    def _part(self, place: Path, split: str, words: Lexicon, faults: list[str]) -> Iterator[Row]:
        for chapter in [inner for outer in _read.folders(place) for inner in _read.folders(outer)]:
            sounds, listed = _read.sounds(chapter), set[str]()
            for path in _read.files(chapter, ".txt"):
                for line in _read.lines(path):
                    name, _, text = line.strip().partition(" ")
                    if name not in sounds or not text:
                        faults.append(f"{path.name}: {name} has no {'text' if name in sounds else 'sound'}")
                        continue
                    listed.add(name)
                    labels = {"transcript": text, "speaker": chapter.parent.name, "chapter": chapter.name}
                    labels |= {"phonemes": words.say(text, name)} if self.lexicon else {}
                    yield Row(name, str(sounds[name]), labels, split)
            faults += [f"{sounds[name]}: stands in no .trans.txt" for name in sorted({*sounds} - listed)]
