"""Transcription by CTC (Graves et al., 2006) with a linear head, greedy decoding, word and character error rate."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any, ClassVar, Final, Literal

import jiwer
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pegbox.errors import CorpusError, RecipeError
from pegbox.tasks._heads import PerFrame
from pegbox.tasks._labels import column, label

BLANK: Final = "<blank>"


@dataclass(frozen=True)
class Ctc:
    """Characters of the training texts, or the given `units` with texts as units between spaces.

    Scores are `wer` (words, or units) and, for characters, `cer`; `select` is the one the best step is chosen by.
    """

    label: str = "transcript"
    units: tuple[str, ...] = ()
    select: Literal["wer", "cer"] = "wer"

    better: ClassVar[Literal["max", "min"]] = "min"
    framewise: ClassVar[bool] = True
    pools: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.units and self.select == "cer":
            raise RecipeError('ctc(select="cer"): given units have no characters to count; use select="wer"')
        if len(set(self.units)) < len(self.units) or BLANK in self.units:
            raise RecipeError(f"ctc(units=…): every unit once, and none called {BLANK}")

    @property
    def metric(self) -> str:
        """The score by which the best step is chosen."""
        return self.select

    def vocabulary(self, splits: Mapping[str, Sequence[Mapping[str, str]]]) -> tuple[str, ...]:
        """Returns the blank and then the units."""
        texts = {split: column(rows, self.label, split) for split, rows in splits.items()}
        if not self.units:
            return (BLANK, *sorted({letter for text in texts["train"] for letter in _normal(text)}))
        strange = {unit for group in texts.values() for text in group for unit in text.split()} - set(self.units)
        if strange:
            raise CorpusError(f"'{self.label}' holds {len(strange)} units that are not given: {sorted(strange)[:8]}")
        return (BLANK, *self.units)

    def least_frames(self, labels: Mapping[str, str]) -> int:
        """Returns units plus one blank between equal neighbours: CTC cannot emit more than one unit a frame."""
        units = self._units(labels)
        return max(1, len(units) + sum(left == right for left, right in pairwise(units)))

    def head(self, width: int, vocabulary: tuple[str, ...]) -> nn.Module:
        """Returns one linear map to the units and the blank."""
        return PerFrame(width, len(vocabulary))

    def loss(
        self, logits: Tensor, frames: Tensor, labels: Sequence[Mapping[str, str]], vocabulary: tuple[str, ...]
    ) -> Tensor:  # (batch, time, units)
        """Returns CTC's loss a target unit, averaged over the clips; units that training lacks are left out."""
        index = {unit: number for number, unit in enumerate(vocabulary)}
        targets = [[index[unit] for unit in self._units(row) if unit in index] for row in labels]
        flat = torch.tensor([number for target in targets for number in target], device=logits.device)
        lengths = torch.tensor([len(target) for target in targets])
        chances = logits.float().log_softmax(-1).transpose(0, 1)  # (time, batch, units)
        return F.ctc_loss(chances, flat, frames.cpu(), lengths, blank=0, reduction="mean")

    def decode(self, logits: Tensor, frames: Tensor, vocabulary: tuple[str, ...]) -> list[dict[str, Any]]:
        """Returns the greedy text: the likeliest unit a frame, repeats and blanks dropped."""
        best = logits.argmax(-1).cpu()
        between = " " if self.units else ""
        said = []
        for row, count in zip(best.tolist(), frames.tolist(), strict=True):
            units = [vocabulary[number] for number, _ in groupby(row[:count]) if number]
            said.append(" ".join(between.join(units).split()))
        return [{"said": text} for text in said]

    def truth(self, labels: Mapping[str, str]) -> str:
        """Returns the text."""
        return _normal(label(labels, self.label))

    def score(self, predictions: Sequence[dict[str, Any]]) -> dict[str, float]:
        """Returns error rates over the whole set: edits divided by what should have been said."""
        true, said = [row["true"] for row in predictions], [row["said"] for row in predictions]
        scores = {"wer": float(jiwer.wer(true, said))}
        return scores if self.units else scores | {"cer": float(jiwer.cer(true, said))}

    def _units(self, labels: Mapping[str, str]) -> list[str]:
        text = _normal(labels[self.label])
        return text.split() if self.units else list(text)


def _normal(text: str) -> str:
    return " ".join(text.split())
