"""What a network that reads texts learns: the tokens of its own tokenizer, and Mel frames on its scale."""

import json
from collections.abc import Iterator
from functools import cache
from hashlib import blake2b

import numpy as np
import torch
from torch import Tensor

from pegbox.backbones import Speaker, load_tokenizer
from pegbox.errors import CorpusError
from pegbox.rows import Row
from pegbox.tasks import Speaks, Task
from pegbox.training.reading import pieces
from pegbox.training.script import Line


class Texts:
    """How one network reads texts, and the scale of its frames."""

    def __init__(self, speaker: Speaker) -> None:
        self.analysis, self._scale = speaker.analysis, speaker.lessons.scale
        self._most = speaker.lessons.longest(speaker.config)[0]
        self._tokens = load_tokenizer(speaker.source)
        self._none = len(self._tokens("", add_special_tokens=False).input_ids)
        self._knows = cache(self._known)

    @property
    def digest(self) -> str:
        """The identity of the tokenizer's units."""
        return blake2b(json.dumps(sorted(self._tokens.get_vocab().items())).encode(), digest_size=16).hexdigest()

    def numbers(self, text: str, name: str) -> Tensor:  # (units,)
        """Returns the tokens of a text. Signs that the tokenizer lacks are what it makes of them.

        Raises:
            CorpusError: letters or digits that the network has never learnt, or more tokens than it has places for.
        """
        strange = sorted({each for each in text if each.isalnum() and not self._knows(each)})
        if strange:
            raise CorpusError(
                f"{name}: the network's tokenizer has nothing for {' '.join(map(repr, strange))}; spell them otherwise"
            )
        found = self._tokens(text).input_ids
        if not len(text.strip()) or len(found) > self._most:
            raise CorpusError(f"{name}: {len(found)} tokens; the network reads 1 to {self._most:g}; cut the clip")
        return torch.tensor(found)

    def said(self, row: Row, task: Task) -> str:
        """Returns what a recording says: its text."""
        assert isinstance(task, Speaks)
        return row.labels[task.text].strip()

    def check(self, row: Row, task: Task, frames: int) -> None:
        """Refuses a clip with as many tokens as Mel frames or more, or whose text cannot be read."""
        count = len(self.numbers(self.said(row, task), row.id))
        if count >= frames:
            raise CorpusError(f"{row.id}: {count} tokens in {frames} Mel frames: this text is not what the clip says")

    def learnt(self, row: Row, task: Task, wave: np.ndarray) -> Line:  # (samples,)
        """Returns a clip as the network learns it."""
        mel = self.analysis.log_mel(wave) / self._scale
        return Line(self.numbers(self.said(row, task), row.id), mel, torch.from_numpy(wave))

    def logarithms(self, mel: Tensor) -> Tensor:  # (time, bands)
        """Returns frames on the network's scale as natural logarithms."""
        return mel * self._scale

    def wave(self, mel: Tensor) -> np.ndarray:  # (time, bands) on the network's scale → (samples,)
        """Returns sound of frames that the network made."""
        return self.analysis.wave(self.logarithms(mel))

    def parts(self, text: str) -> Iterator[str]:
        """Yields what is spoken in one breath, in any script that the network knows."""
        return pieces(text)

    def units(self, part: str) -> Tensor:  # (units,)
        """Returns what the network is told to say."""
        return self.numbers(part, repr(part))

    def _known(self, character: str) -> bool:
        found = self._tokens(character, add_special_tokens=False).input_ids
        return len(found) > self._none and self._tokens.unk_token_id not in found
