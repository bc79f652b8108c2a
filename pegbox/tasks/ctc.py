"""Transcription and phoneme recognition by CTC (Graves et al., 2006), greedy or by beam search; WER, CER, PER."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import jiwer
from torch import Tensor, nn

from pegbox.errors import CorpusError, RecipeError
from pegbox.tasks import _ctc
from pegbox.tasks._beam import Beam
from pegbox.tasks._beam import said as searched
from pegbox.tasks._ctc import BLANK
from pegbox.tasks._labels import column, label
from pegbox.tasks._symbols import PHONES, SPECIAL, SUPERB_LETTERS, SUPERB_PHONES, pronounced


@dataclass(frozen=True)
class Ctc:
    """Characters of the training texts, or with `unit="phoneme"` the symbols between their spaces.

    `units` gives the symbols, `lexicon` files that turn words into phonemes. Scores are `per`, or `wer` and, for
    characters, `cer`; `select` is the one the best step is chosen by. `network` is `linear`, `projected` (SUPERB's for
    phonemes) or `recurrent` (SUPERB's for text); `hidden` 0 is SUPERB's width. `spec_augment` masks features.
    `protocol="reference"` has the outputs of SUPERB's toolkit, an end symbol among them; `sure` decodes as SURE does.

    With `lm`, an n-gram model's ARPA file or KenLM binary, what is said once training is over is found by beam search
    over its words, or those of the file `words`; `beam`, `beam_threshold`, `lm_weight` and `word_score` are the
    search's. `looks="beam"` searches in training's looks at the validation split, too.
    """

    label: str = "transcript"
    unit: Literal["character", "phoneme"] = "character"
    units: tuple[str, ...] = ()
    lexicon: tuple[str, ...] = ()
    select: Literal["wer", "cer"] = "wer"
    network: Literal["linear", "projected", "recurrent"] = "linear"
    hidden: int = 0
    spec_augment: bool = False
    protocol: Literal["clean", "reference", "sure"] = "clean"
    lm: str = ""
    words: str = ""
    looks: Literal["greedy", "beam"] = "greedy"
    beam: int = 50
    beam_threshold: float = 25.0
    lm_weight: float = 2.0
    word_score: float = -1.0

    better: ClassVar[Literal["max", "min"]] = "min"
    framewise: ClassVar[bool] = True
    pools: ClassVar[bool] = False

    def __post_init__(self) -> None:
        phonemes = self.unit == "phoneme"
        if self.units and self.select == "cer":
            raise RecipeError('ctc(select="cer"): given units have no characters to count; use select="wer"')
        if len(set(self.units)) < len(self.units) or BLANK in self.units:
            raise RecipeError(f"ctc(units=…): every unit once, and none called {BLANK}")
        if (self.lexicon or self.protocol == "sure") and not phonemes:
            raise RecipeError('ctc: a lexicon and the protocol "sure" are for unit="phoneme"')
        if self.units and (self.lexicon or self.protocol != "clean"):
            raise RecipeError("ctc(units=…): a lexicon and the references' protocols have units of their own")
        if self.hidden < 0 or (self.hidden and self.network == "linear"):
            raise RecipeError(f'ctc(hidden={self.hidden}): a width of network="projected" or "recurrent"')
        if self._beam.lm and self._spaced:
            raise RecipeError('ctc(lm=…): a language model of words is for unit="character" without given units')
        if self.looks == "beam" and not self.lm:
            raise RecipeError('ctc(looks="beam"): there is no search without a language model; give lm')

    @property
    def metric(self) -> str:
        """The score by which the best step is chosen."""
        return "per" if self.unit == "phoneme" else self.select

    def vocabulary(self, splits: Mapping[str, Sequence[Mapping[str, str]]]) -> tuple[str, ...]:
        """Returns the blank and then the units."""
        units = self._outputs(splits)
        if self.lm:
            self._beam.check(units, self._space)
        return units

    @property
    def reads(self) -> Mapping[str, str]:
        """The language model and its words."""
        return {name: path for name, path in (("language model", self.lm), ("list of words", self.words)) if path}

    def searching(self) -> "Ctc":
        """Returns the task as it decodes once training is over: by beam search, where there is a language model."""
        return replace(self, looks="beam") if self.lm else self

    def _outputs(self, splits: Mapping[str, Sequence[Mapping[str, str]]]) -> tuple[str, ...]:
        texts = {split: [_normal(text) for text in column(rows, self.label, split)] for split, rows in splits.items()}
        words = {word for group in texts.values() for text in group for word in text.split()}
        if self.lexicon:
            pronounced(sorted(words), self.lexicon)  # refuses those that it lacks
        if self.protocol != "clean":
            return SUPERB_PHONES if self.unit == "phoneme" else SUPERB_LETTERS
        if self.lexicon:
            return (BLANK, *PHONES)
        if not self.units:
            return (BLANK, *sorted({unit for text in texts["train"] for unit in self._spoken(text)}))
        strange = words - set(self.units)
        if strange:
            raise CorpusError(f"'{self.label}' holds {len(strange)} units that are not given: {sorted(strange)[:8]}")
        return (BLANK, *self.units)

    def least_frames(self, labels: Mapping[str, str]) -> int:
        """Returns how many frames CTC needs to say the text."""
        return _ctc.least_frames(self._target(labels))

    def head(self, width: int, vocabulary: tuple[str, ...]) -> nn.Module:
        """Returns the map from frames to the units and the blank."""
        return _ctc.head(self.network, self.hidden, self.spec_augment, width, len(vocabulary))

    def loss(
        self, logits: Tensor, frames: Tensor, labels: Sequence[Mapping[str, str]], vocabulary: tuple[str, ...]
    ) -> Tensor:  # (batch, time, units)
        """Returns CTC's loss a target unit, averaged over the clips; units that training lacks are left out."""
        return _ctc.loss(logits, frames, [self._target(row) for row in labels], vocabulary)

    def decode(self, logits: Tensor, frames: Tensor, vocabulary: tuple[str, ...]) -> list[dict[str, Any]]:
        """Returns the greedy text: the likeliest unit a frame, repeats and blanks dropped; or that of the search."""
        texts = [self._text(path) for path in _ctc.greedy(logits, frames, vocabulary, self.protocol != "sure")]
        if self.looks == "greedy":
            return [{"said": text} for text in texts]
        found = searched(self._beam, logits, frames, vocabulary, self._space)
        return [{"said": best, "greedy": text} for best, text in zip(found, texts, strict=True)]

    def truth(self, labels: Mapping[str, str]) -> str:
        """Returns the text, or its phonemes."""
        text = _normal(label(labels, self.label))
        if self.lexicon:
            return " ".join(self._spoken(text))
        return text.upper() if self.protocol == "reference" and not self._spaced else text

    def score(self, predictions: Sequence[dict[str, Any]]) -> dict[str, float]:
        """Returns error rates over the whole set, edits divided by what should have been said; greedy ones, too."""
        true, rates = [row["true"] for row in predictions], self._rates
        scores = rates(true, [row["said"] for row in predictions])
        if not all("greedy" in row for row in predictions):
            return scores
        greedy = rates(true, [row["greedy"] for row in predictions])
        return scores | {f"greedy_{name}": rate for name, rate in greedy.items()}

    def _rates(self, true: Sequence[str], said: Sequence[str]) -> dict[str, float]:
        rate = float(jiwer.wer(true, said))
        if self.unit == "phoneme":
            return {"per": rate}
        return {"wer": rate} if self.units else {"wer": rate, "cer": float(jiwer.cer(true, said))}

    @property
    def _beam(self) -> Beam:
        return Beam(self.lm, self.words, self.beam, self.beam_threshold, self.lm_weight, self.word_score)

    @property
    def _space(self) -> str:
        """The unit between words."""
        return "|" if self.protocol == "reference" else " "

    @property
    def _spaced(self) -> bool:
        """Whether units stand between spaces."""
        return bool(self.units) or self.unit == "phoneme"

    def _spoken(self, text: str) -> list[str]:
        if self.lexicon:
            return pronounced(text.split(), self.lexicon)
        return text.split() if self._spaced else list(text)

    def _target(self, labels: Mapping[str, str]) -> list[str]:
        text = _normal(labels[self.label])
        if self.protocol == "clean":
            return self._spoken(text)
        if self._spaced:
            return [*self._spoken(text), "<eos>"]
        return [*text.upper().replace(" ", "|"), "|", "</s>"]

    def _text(self, path: Sequence[str]) -> str:
        if self.protocol == "sure" and "<eos>" in path:
            path = path[: path.index("<eos>")]
        units = [unit for unit in path if self.protocol == "clean" or unit not in SPECIAL]
        if self._spaced:
            return _normal(" ".join(units))
        return _normal("".join(units).replace("|", " ") if self.protocol == "reference" else "".join(units))


def _normal(text: str) -> str:
    return " ".join(text.split())
