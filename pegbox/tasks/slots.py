"""Slot filling by CTC over characters and slot marks, as SUPERB does it on Audio SNIPS (arXiv:2105.01051)."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, ClassVar, Final, Literal

import jiwer
from torch import Tensor, nn

from pegbox.errors import CorpusError, RecipeError
from pegbox.tasks import _ctc, _slot_scores
from pegbox.tasks._labels import column, label
from pegbox.tasks._slot_scores import Values

_PUNCTUATION: Final = "?!.,;-"
_OPENED: Final = {
    "clean": re.compile(r"(?<!\S)B-(\S+) (.+?) E-\1(?!\S)"),
    "reference": re.compile(r"B-(\S+) (.+?) E-\1"),
}
_MARK: Final = re.compile(r"B-\S+ | E-\S+")


@dataclass(frozen=True)
class Slots:
    """Words in the column `label`, their slots in `slots`: as many, `O` for none, without B- and I-.

    Texts read `PLAY B-artist THE BEATLES E-artist NOW`. The head is SUPERB's, `hidden` 0 its width. With
    `protocol="reference"` outputs and texts are those of SUPERB's toolkit: A to Z, and an end symbol.
    """

    label: str = "transcript"
    slots: str = "slots"
    network: Literal["linear", "projected", "recurrent"] = "recurrent"
    hidden: int = 0
    spec_augment: bool = False
    select: Literal["slot_type_f1", "slot_edit_f1"] = "slot_type_f1"
    protocol: Literal["clean", "reference"] = "clean"

    better: ClassVar[Literal["max", "min"]] = "max"
    framewise: ClassVar[bool] = True
    pools: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.hidden < 0 or (self.hidden and self.network == "linear"):
            raise RecipeError(f'slots(hidden={self.hidden}): a width of network="projected" or "recurrent"')

    @property
    def metric(self) -> str:
        """The score by which the best step is chosen."""
        return self.select

    def vocabulary(self, splits: Mapping[str, Sequence[Mapping[str, str]]]) -> tuple[str, ...]:
        """Returns the blank, characters, and a mark for the begin and the end of every slot of the training split."""
        for split, rows in splits.items():
            column(rows, self.label, split), column(rows, self.slots, split)
        said = [unit for row in splits["train"] for unit in self._units(row)]
        marks = sorted({unit for unit in said if len(unit) > 1 and unit != "<eos>"})
        if self.protocol == "reference":
            return ("<pad>", "<eos>", "<unk>", " ", *"ABCDEFGHIJKLMNOPQRSTUVWXYZ", "'", *marks)
        return (_ctc.BLANK, *sorted({unit for unit in said if len(unit) == 1}), *marks)

    def least_frames(self, labels: Mapping[str, str]) -> int:
        """Returns how many frames CTC needs to say the text with its marks."""
        return _ctc.least_frames(self._units(labels))

    def head(self, width: int, vocabulary: tuple[str, ...]) -> nn.Module:
        """Returns the map from frames to characters, marks and the blank."""
        return _ctc.head(self.network, self.hidden, self.spec_augment, width, len(vocabulary))

    def loss(
        self, logits: Tensor, frames: Tensor, labels: Sequence[Mapping[str, str]], vocabulary: tuple[str, ...]
    ) -> Tensor:  # (batch, time, units)
        """Returns CTC's loss a target unit, averaged over the clips."""
        return _ctc.loss(logits, frames, [self._units(row) for row in labels], vocabulary)

    def decode(self, logits: Tensor, frames: Tensor, vocabulary: tuple[str, ...]) -> list[dict[str, Any]]:
        """Returns the greedy text with its marks."""
        return [{"said": self._text(path)} for path in _ctc.greedy(logits, frames, vocabulary)]

    def truth(self, labels: Mapping[str, str]) -> str:
        """Returns the text with its marks."""
        label(labels, self.label), label(labels, self.slots)
        return self._text(self._units(labels))

    def score(self, predictions: Sequence[dict[str, Any]]) -> dict[str, float]:
        """Returns F1 of slot types, error rates of their values, and error rates of texts with marks.

        What no reference bears on, such as values without any slot, is not a number.
        """
        true = [" ".join(row["true"].split()) for row in predictions]
        said = [" ".join(row["said"].split()) for row in predictions]
        pairs = [(self.values(t), self.values(s, strip=True)) for t, s in zip(true, said, strict=True)]
        meant = [pair for wanted, found in pairs for pair in _slot_scores.paired(wanted, found)]
        return {
            "slot_type_f1": fmean(_slot_scores.type_f1(set(wanted), set(found)) for wanted, found in pairs),
            "slot_value_cer": _slot_scores.rate(meant, jiwer.process_characters),
            "slot_value_wer": _slot_scores.rate(meant, jiwer.process_words),
            "slot_edit_f1": _slot_scores.edit_f1(pairs, extra=True),
            "slot_edit_f1_part": _slot_scores.edit_f1(pairs, extra=False),
            "wer": float(jiwer.wer(true, said)),
            "cer": float(jiwer.cer(true, said)),
        }

    def summands(self, row: Mapping[str, Any]) -> tuple[float, float]:
        """Returns a clip's F1 of slot types, of which the score is the mean."""
        wanted, found = (self.values(" ".join(row[side].split()), side == "said") for side in ("true", "said"))
        return _slot_scores.type_f1(set(wanted), set(found)), 1.0

    def values(self, text: str, strip: bool = False) -> Values:
        """Returns the slots of a text that are opened and closed; `strip` takes lost marks out of their values."""
        found: dict[str, list[str]] = {}
        for slot, value in _OPENED[self.protocol].findall(text):
            found.setdefault(slot, []).append(_MARK.sub("", value) if strip else value)
        return found

    def _units(self, labels: Mapping[str, str]) -> list[str]:
        words, slots = labels[self.label].split(), labels[self.slots].split()
        if len(words) != len(slots):
            raise CorpusError(
                f"{len(words)} words and {len(slots)} slots: {labels[self.label]!r}, {labels[self.slots]!r}; "
                "every word has one slot, O for none"
            )
        spoken = [(self._word(word), slot) for word, slot in zip(words, slots, strict=True) if word not in _PUNCTUATION]
        units: list[str] = []
        for place, (word, slot) in enumerate(spoken):
            before, behind = (spoken[n][1] if 0 <= n < len(spoken) else "O" for n in (place - 1, place + 1))
            units += [" "] if place else []
            units += [f"B-{slot}"] if slot not in ("O", before) else []
            units += [*word, *([f"E-{slot}"] if slot not in ("O", behind) else [])]
        return units if self.protocol == "clean" else [*units, "<eos>"]

    def _word(self, word: str) -> str:
        word = "AND" if word == "&" else word
        return word.upper() if self.protocol == "reference" else word

    def _text(self, path: Sequence[str]) -> str:
        exact = self.protocol == "reference"
        begin, end = ("{} ", " {}") if exact else (" {} ", " {} ")
        parts = [begin.format(u) if u[:2] == "B-" else end.format(u) if u[:2] == "E-" else u for u in path]
        return " ".join("".join(part for part in parts if part != "<eos>").split())
