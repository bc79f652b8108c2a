"""Pronunciations of words: lines of `WORD  PH PH PH`; the first that a word has counts."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from pegbox.corpora import _read
from pegbox.errors import CorpusError


@dataclass
class Lexicon:
    """Word → phonemes of all files, those of earlier files and lines first; counts the words it lacks."""

    paths: Iterable[str]
    lacks: dict[str, str] = field(default_factory=dict)  # word → where it was met first

    def __post_init__(self) -> None:
        self.found: dict[str, str] = {}
        for path in self.paths:
            for line in _read.lines(Path(path)):
                word, *phonemes = line.split()
                if not phonemes:
                    raise CorpusError(f"{path}: '{word}' has no phonemes; lines are WORD  PH PH PH")
                self.found.setdefault(word.upper(), " ".join(phonemes))

    def say(self, text: str, where: str) -> str:
        """Returns the phonemes of a text, between spaces; what is not in the lexicon is noted in `lacks`."""
        words = text.upper().split()
        for word in words:
            if word not in self.found:
                self.lacks.setdefault(word, where)
        return " ".join(self.found[word] for word in words if word in self.found)

    def refuse(self) -> None:
        """Raises a CorpusError that counts the words that were met and are not in the lexicon."""
        _read.refuse(
            ", ".join(self.paths), [f"no pronunciation of '{word}' ({where})" for word, where in self.lacks.items()]
        )
