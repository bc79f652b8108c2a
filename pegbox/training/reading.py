"""Texts as the units of a network: eSpeak NG's phonemes in its language, with the pauses that eSpeak makes."""

import re
import unicodedata
from collections.abc import Iterator
from typing import Final

from torch import Tensor

from pegbox.corpora.synthetic._espeak import Synthesizer, Voice, bare
from pegbox.errors import RecipeError
from pegbox.training.script import Script, paused

LONGEST: Final = 30  # words that are spoken in one breath


class Reader:
    """Reads texts for one network."""

    def __init__(self, script: Script) -> None:
        self.script, self._speech = script, Synthesizer()

    def parts(self, text: str) -> Iterator[str]:
        """Yields what is spoken in one breath; refuses letters that are not Latin."""
        return parts(text)

    def units(self, part: str) -> Tensor:  # (units,)
        """Returns what the network is told to say of what is spoken in one breath.

        Raises:
            CorpusError: a phoneme that it has never learnt, and that those that it has do not spell.
        """
        return self.script.numbers(self.symbols(part), repr(part))

    def symbols(self, part: str) -> list[str]:
        """Returns the units of what is spoken in one breath, pauses among them.

        A phoneme that the network has not learnt is spelt by those that it has, where it can be.
        """
        analysis = self.script.analysis
        spoken = self._speech.say(part, Voice(self.script.language))
        times = [(bare(symbol), start, end) for symbol, start, end in spoken.phonemes]
        whole = paused(times, len(spoken.wave) / analysis.rate, 2 * analysis.seconds)
        return [symbol for unit, _, _ in whole for symbol in self.script.spelt(unit)]


def parts(text: str) -> Iterator[str]:
    """Yields what is spoken in one breath; refuses a text without anything to say, and letters that are not Latin."""
    strange = sorted({each for each in text if each.isalpha() and not unicodedata.name(each, "").startswith("LATIN")})
    if strange:
        raise RecipeError(
            f"the text has {len(strange)} letters of another script than Latin, {' '.join(strange[:8])}: the network "
            "has not learnt to read them; spell them in Latin letters"
        )
    yield from pieces(text)


def pieces(text: str) -> Iterator[str]:
    """Yields what is spoken in one breath, in any script; refuses a text without anything to say."""
    found = [piece for piece in re.split(r"(?<=[.!?;:])\s+|\n", text) if any(each.isalnum() for each in piece)]
    if not found:
        raise RecipeError(f"nothing to say: {text[:40]!r} has neither letters nor digits")
    for piece in found:
        words = piece.split()
        for start in range(0, len(words), LONGEST):
            yield " ".join(words[start : start + LONGEST])
