"""Output symbols of SUPERB's transcription and phoneme recognition (arXiv:2105.01051), and pronouncing lexicons."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Final

from pegbox.errors import CorpusError

_VOWELS: Final = ("AA", "AE", "AH", "AO", "AW", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY", "UH", "UW")
_CONSONANTS: Final = ("CH", "DH", "HH", "JH", "NG", "SH", "TH", "ZH", *"BDFGKLMNPRSTVWYZ")
_ARPABET: Final = sorted([*(vowel + stress for vowel in _VOWELS for stress in "012"), *_CONSONANTS])

PHONES: Final = ("SIL", "SPN", *_ARPABET)
SUPERB_PHONES: Final = ("<pad>", "<eos>", "<unk>", *PHONES)
SUPERB_LETTERS: Final = ("<s>", "<pad>", "</s>", "<unk>", "|", *"ETAONIHSRDLUMCWFGYPBVK'XJQZ")
SPECIAL: Final = frozenset({"<s>", "<pad>", "</s>", "<eos>"})


@cache
def lexicon(paths: tuple[str, ...]) -> Mapping[str, tuple[str, ...]]:
    """Returns word → phonemes of lexicon files, a word and its phonemes a line; a word's first line counts."""
    found: dict[str, tuple[str, ...]] = {}
    for path in paths:
        try:
            lines = Path(path).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as problem:
            raise CorpusError(f"{path}: cannot be read as a lexicon ({problem})") from None
        for number, line in enumerate(lines, 1):
            word, *phones = line.split() or [""]
            if word and not phones:
                raise CorpusError(f"{path}: line {number}: '{word}' has no phonemes; write a word and its phonemes")
            found.setdefault(word.upper(), tuple(phones))
    return found


def pronounced(words: Sequence[str], paths: tuple[str, ...]) -> list[str]:
    """Returns the phonemes of a text, without boundaries between words."""
    known = lexicon(paths)
    missing = sorted({word for word in words if word.upper() not in known})
    if missing:
        raise CorpusError(f"the lexicon lacks {len(missing)} words: {missing[:8]}; add them to a file of their own")
    return [phone for word in words for phone in known[word.upper()]]
