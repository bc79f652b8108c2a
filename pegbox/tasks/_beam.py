"""Beam search over the words of an n-gram language model (KenLM, Heafield, 2011), by flashlight's lexicon decoder.

As the toolkits of wav2vec 2.0 and SUPERB decode with one: `pip install 'pegbox[lm]'`. What is searched for is the
path with the highest sum of the log chances of its units, `weight` times the language model's log10 chance of its
words, the end included, and `word_score` for every word.
"""

import gzip
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from pegbox.errors import RecipeError

_MARKS: Final = frozenset({"<s>", "</s>", "<unk>"})
_HEADS: Final = (b"\\data\\", b"mmap lm http://kheafield.com/code")  # of an ARPA file, and of KenLM's binary
_NEVER: Final = -1e4  # a log chance, of what the end of a clip is not


@dataclass(frozen=True)
class Beam:
    """A language model's file, the file of the words that may be said, and how the search goes.

    `size` paths go on from every frame, unless they are more than `threshold` worse than the best one.
    """

    lm: str = ""
    words: str = ""
    size: int = 50
    threshold: float = 25.0
    weight: float = 2.0
    word_score: float = -1.0

    def __post_init__(self) -> None:
        given = [each.name for each in fields(self) if getattr(self, each.name) != each.default]
        if given and not self.lm:
            raise RecipeError("ctc: options of the beam search without its language model; give lm, or leave them out")
        if self.size < 1 or not self.threshold > 0:
            raise RecipeError(
                f"ctc(beam={self.size}, beam_threshold={self.threshold}): a beam of 1 or more, a threshold above 0"
            )

    def check(self, units: Sequence[str], space: str) -> None:
        """Refuses what a search would fail on; of the language model only its words are read."""
        _library()
        binary = _head(self.lm).startswith(_HEADS[1])
        if binary and not self.words:
            raise RecipeError(f"ctc(lm={self.lm!r}): a binary does not tell its words; give words, a file of them")
        if self.words and not Path(self.words).is_file():
            raise RecipeError(f"ctc(words={self.words!r}): no such file; give one with a word a line")
        if space not in units:
            raise RecipeError(
                f"ctc(lm={self.lm!r}): the outputs lack {space!r}, which stands between words; texts of single words "
                "need no language model"
            )
        self.spellings(units, space)

    def spellings(self, units: Sequence[str], space: str) -> dict[str, list[int]]:
        """Returns the words that may be said, each with the numbers of its units and of the space behind it."""
        known = {unit: number for number, unit in enumerate(units)}
        words = (word for word in _words(self) if all(letter in known for letter in word) and space not in word)
        found = {word: [known[letter] for letter in (*word, space)] for word in words}
        if not found:
            raise RecipeError(
                f"{self.words or self.lm}: none of its words can be spelt in the outputs {' '.join(units[1:33])}; "
                "write them as the texts are written, in the same case"
            )
        return found


def said(
    beam: Beam, logits: Tensor, frames: Tensor, units: Sequence[str], space: str
) -> list[str]:  # (batch, time, units), (batch,)
    """Returns the best words of every clip. `space` is the unit between words; the first unit is the blank.

    Raises:
        RecipeError: when the library, the language model or its words are missing or cannot be used.
    """
    search = _search(beam, tuple(units), space)
    chances = logits.detach().float().log_softmax(-1).cpu()
    return [search.words(clip[:count]) for clip, count in zip(chances, frames.tolist(), strict=True)]


class _Search:
    """A language model that has been read, and the decoder that walks along the spellings of its words."""

    def __init__(self, beam: Beam, units: tuple[str, ...], space: str) -> None:
        library, spellings = _library(), beam.spellings(units, space)
        self.space = units.index(space)
        self.dictionary = library.Dictionary([*spellings, "<unk>"])
        self.model = _read(library, beam.lm, self.dictionary)
        trie, start = library.Trie(len(units), self.space), self.model.start(False)
        for number, spelling in enumerate(spellings.values()):
            _, likely = self.model.score(start, number)
            trie.insert(spelling, number, likely)
        trie.smear(library.SmearingMode.MAX)
        self.decoder = library.LexiconDecoder(
            library.LexiconDecoderOptions(
                beam_size=beam.size,
                beam_size_token=len(units),
                beam_threshold=beam.threshold,
                lm_weight=beam.weight,
                word_score=beam.word_score,
                unk_score=-math.inf,
                sil_score=0.0,
                log_add=False,
                criterion_type=library.CriterionType.CTC,
            ),
            *(trie, self.model, self.space, 0, len(spellings), [], False),
        )

    def words(self, chances: Tensor) -> str:  # (time, units)
        """Returns the best words; a frame beyond the end closes the last one, which no space may follow."""
        end = torch.full((1, chances.shape[1]), _NEVER)
        end[0, self.space] = 0.0
        given = torch.cat([chances, end]).contiguous()
        found = self.decoder.decode(given.data_ptr(), *given.shape)
        best = found[0].words if found else []
        return " ".join(self.dictionary.get_entry(number) for number in best if number >= 0)


@lru_cache(maxsize=1)  # a language model may take gigabytes
def _search(beam: Beam, units: tuple[str, ...], space: str) -> _Search:
    beam.check(units, space)
    return _Search(beam, units, space)


class _Library:
    """The names of flashlight-text that are used here; made only where it is installed."""

    def __init__(self) -> None:
        from flashlight.lib.text import decoder
        from flashlight.lib.text.decoder.kenlm import KenLM
        from flashlight.lib.text.dictionary import Dictionary

        self.KenLM, self.Dictionary = KenLM, Dictionary
        self.Trie, self.SmearingMode, self.CriterionType = decoder.Trie, decoder.SmearingMode, decoder.CriterionType
        self.LexiconDecoder, self.LexiconDecoderOptions = decoder.LexiconDecoder, decoder.LexiconDecoderOptions


def _library() -> _Library:
    try:
        return _Library()
    except ImportError as problem:
        raise RecipeError(
            f"ctc(lm=…): needs flashlight-text with KenLM ({problem}); pip install 'pegbox[lm]'"
        ) from None


def _read(library: _Library, path: str, dictionary: Any) -> Any:
    try:
        return library.KenLM(path, dictionary)
    except RuntimeError as problem:
        raise RecipeError(
            f"{path}: KenLM cannot read it ({' '.join(str(problem).split())}); "
            "give an ARPA file, plain or .gz, or a KenLM binary"
        ) from None


def _open(path: str) -> Any:
    return gzip.open(path, "rb") if path.endswith(".gz") else Path(path).open("rb")


def _head(path: str) -> bytes:
    """Returns the first bytes of a language model's file; refuses what is none."""
    try:
        with _open(path) as file:
            head: bytes = file.read(64).lstrip()
    except (OSError, EOFError) as problem:
        raise RecipeError(f"ctc(lm={path!r}): cannot be read ({problem}); give the path of an ARPA file") from None
    if not head.startswith(_HEADS):
        raise RecipeError(
            f"ctc(lm={path!r}): neither an ARPA file, which begins with \\data\\, nor a KenLM binary; it begins with "
            f"{head[:16]!r}"
        )
    return head


def _words(beam: Beam) -> list[str]:
    """Returns the words that may be said, each once: the first of every line of a file, or the model's own."""
    with _open(beam.words or beam.lm) as file:
        lines = (line.decode("utf-8") for line in file)
        fields = (line.split() for line in lines) if beam.words else _unigrams(lines)
        try:
            return list(dict.fromkeys(word for word, *_ in filter(None, fields) if word not in _MARKS))
        except (OSError, EOFError, UnicodeDecodeError) as problem:
            raise RecipeError(f"{beam.words or beam.lm}: its words cannot be read ({problem}); write UTF-8") from None


def _unigrams(lines: Iterator[str]) -> Iterator[list[str]]:
    """Returns the words of an ARPA file, without chances."""
    for line in lines:
        if line.startswith("\\1-grams:"):
            break
    for line in lines:
        if line.startswith("\\"):
            return
        yield line.split()[1:2]
