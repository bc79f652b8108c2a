"""Classification of whole clips with SUPERB's head: projection, mean over frames, linear (arXiv:2105.01051)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from sklearn.metrics import accuracy_score, f1_score, recall_score
from torch import Tensor, nn
from torch.nn import functional as F

from pegbox.errors import CorpusError, RecipeError
from pegbox.tasks import _heads, _labels
from pegbox.tasks._labels import column, label, learnable, named


@dataclass(frozen=True)
class Classify:
    """A class a clip; or one in each of several label columns, as intents have, all of which must be right.

    `network` is SUPERB's `projected` (two linear layers, the first of width `projection`) or `normed`, layer norm and
    linear (IPET, arXiv:2211.02227). `pooling` is the mean over frames, mean and `deviation`, or AST's two `tokens`.
    Clips longer than `segment` seconds are heard in parts of which the outputs are averaged; 0 hears them whole.
    """

    label: str | tuple[str, ...]
    projection: int = 256
    network: Literal["projected", "normed"] = "projected"
    pooling: Literal["mean", "deviation", "tokens"] = "mean"
    select: Literal["accuracy", "balanced_accuracy", "macro_f1", "weighted_f1"] = "accuracy"
    segment: float = 0.0

    better: ClassVar[Literal["max", "min"]] = "max"
    framewise: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _heads.check_sizes("classify", self.projection, self.segment)
        if len(self.columns) > 1 and any("=" in name for name in self.columns):
            raise RecipeError(f"classify(label={list(self.columns)}): several columns cannot have '=' in their names")

    @property
    def columns(self) -> tuple[str, ...]:
        """The label columns."""
        return named("classify", self.label)

    @property
    def metric(self) -> str:
        """The score by which the best step is chosen."""
        return self.select

    @property
    def pools(self) -> bool:
        """Whether the mean over frames is all that the head reads."""
        return self.pooling == "mean"

    def paced(self, seconds: float | None) -> "Classify":
        """Returns itself; refuses to take frames for tokens."""
        _heads.need_tokens("classify", self.pooling, seconds)
        return self

    def vocabulary(self, splits: Mapping[str, Sequence[Mapping[str, str]]]) -> tuple[str, ...]:
        """Returns the classes of the training split, sorted, as `column=class` where there are several columns.

        A class that only another split has is refused.
        """
        if len(self.columns) == 1:
            return _classes(splits, self.columns[0])
        found = [(name, value) for name in self.columns for value in _classes(splits, name)]
        barred = [value for _, value in found if "|" in value]
        if barred:
            raise CorpusError(f"the classes {barred[:8]} have a '|', which stands between the columns; rename them")
        return tuple(f"{name}={value}" for name, value in found)

    def classes(self, labels: Mapping[str, str]) -> set[str]:
        """Returns the class in each column."""
        return {f"{name}={labels[name]}" for name in self.columns}

    def least_frames(self, labels: Mapping[str, str]) -> int:
        """One frame is enough."""
        return 1

    def head(self, width: int, vocabulary: tuple[str, ...]) -> nn.Module:
        """Returns the head; a mean over frames, linear too, is taken before it."""
        return _heads.over_clips(width, len(vocabulary), self.network, self.pooling, self.projection)

    def loss(
        self, logits: Tensor, frames: Tensor, labels: Sequence[Mapping[str, str]], vocabulary: tuple[str, ...]
    ) -> Tensor:  # (batch, classes)
        """Returns the mean cross-entropy, summed over the columns."""
        return self._entropies(logits, labels, vocabulary).mean()

    def mixed_loss(
        self,
        logits: Tensor,
        labels: Sequence[Mapping[str, str]],
        others: Sequence[Mapping[str, str]],
        shares: Tensor,
        vocabulary: tuple[str, ...],
    ) -> Tensor:  # (batch, classes), (batch,)
        """Returns the mean cross-entropy with both classes of a clip, each wanted as much as its share is."""
        one, other = (self._entropies(logits, each, vocabulary) for each in (labels, others))
        return _labels.blend(one, other, shares)

    def decode(self, logits: Tensor, frames: Tensor, vocabulary: tuple[str, ...]) -> list[dict[str, Any]]:
        """Returns the likeliest class, of several columns joined by '|', and all probabilities."""
        parts = list(self._parts(vocabulary).values())
        chances = [logits[:, list(part)].double().softmax(-1).cpu() for part in parts]
        best = [each.argmax(-1).tolist() for each in chances]
        said = [
            "|".join(list(p.values())[n] for p, n in zip(parts, row, strict=True)) for row in zip(*best, strict=True)
        ]
        rows = zip(said, torch.cat(chances, -1).tolist(), strict=True)
        return [{"said": name, "probabilities": dict(zip(vocabulary, row, strict=True))} for name, row in rows]

    def join(self, parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Returns the class that the mean output of the parts says."""
        chances = torch.tensor([list(part["probabilities"].values()) for part in parts], dtype=torch.float64)
        (row,) = self.decode(chances.clamp(min=1e-300).log().mean(0)[None], chances, tuple(parts[0]["probabilities"]))
        return row

    def truth(self, labels: Mapping[str, str]) -> str:
        """Returns the class, of several columns joined by '|'."""
        return "|".join(label(labels, name) for name in self.columns)

    def score(self, predictions: Sequence[dict[str, Any]]) -> dict[str, float]:
        """Returns accuracy, its mean over the true classes, macro and weighted F1, and each column's accuracy."""
        true, said = [row["true"] for row in predictions], [row["said"] for row in predictions]
        recalls = recall_score(true, said, labels=sorted(set(true)), average="macro", zero_division=0.0)
        scores = {
            "accuracy": float(accuracy_score(true, said)),
            "balanced_accuracy": float(recalls),
            "macro_f1": float(f1_score(true, said, average="macro", zero_division=0.0)),
            "weighted_f1": float(f1_score(true, said, average="weighted", zero_division=0.0)),
        }
        if len(self.columns) == 1:
            return scores
        true, said = ([text.split("|") for text in part] for part in (true, said))
        each = {
            f"accuracy_{name}": float(accuracy_score([row[place] for row in true], [row[place] for row in said]))
            for place, name in enumerate(self.columns)
        }
        return scores | each

    def _entropies(
        self, logits: Tensor, labels: Sequence[Mapping[str, str]], vocabulary: tuple[str, ...]
    ) -> Tensor:  # (batch, classes) → (batch,)
        total = logits.new_zeros(len(labels), dtype=torch.float32)
        for name, part in self._parts(vocabulary).items():
            index = {value: number for number, value in enumerate(part.values())}
            wanted = torch.tensor([index[row[name]] for row in labels], device=logits.device)
            total = total + F.cross_entropy(logits[:, list(part)].float(), wanted, reduction="none")
        return total

    def _parts(self, vocabulary: tuple[str, ...]) -> dict[str, dict[int, str]]:
        """Returns column → output's place → class."""
        if len(self.columns) == 1:
            return {self.columns[0]: dict(enumerate(vocabulary))}
        parts: dict[str, dict[int, str]] = {name: {} for name in self.columns}
        for place, unit in enumerate(vocabulary):
            name, _, value = unit.partition("=")
            parts[name][place] = value
        return parts


def _classes(splits: Mapping[str, Sequence[Mapping[str, str]]], name: str) -> tuple[str, ...]:
    return learnable(name, {split: set(column(rows, name, split)) for split, rows in splits.items()})
