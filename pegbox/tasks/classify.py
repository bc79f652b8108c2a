"""Classification of whole clips with SUPERB's head: projection, mean over frames, linear (arXiv:2105.01051)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from sklearn.metrics import accuracy_score, f1_score
from torch import Tensor, nn
from torch.nn import functional as F

from pegbox.errors import CorpusError, RecipeError
from pegbox.tasks._labels import column, label


@dataclass(frozen=True)
class Classify:
    """One label column a clip; accuracy and macro F1. `projection` is the width of the head's first layer."""

    label: str
    projection: int = 256

    metric: ClassVar[str] = "accuracy"
    better: ClassVar[Literal["max", "min"]] = "max"
    framewise: ClassVar[bool] = False
    pools: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.projection < 1:
            raise RecipeError(f"classify(projection={self.projection}): a width of at least 1")

    def vocabulary(self, splits: Mapping[str, Sequence[Mapping[str, str]]]) -> tuple[str, ...]:
        """Returns the classes of the training split, sorted; a class that only another split has is refused."""
        known = {split: set(column(rows, self.label, split)) for split, rows in splits.items()}
        classes = known.get("train", set())
        if len(classes) < 2:
            raise CorpusError(f"the training split has {len(classes)} class of '{self.label}'; at least 2 are needed")
        for split, found in known.items():
            if found - classes:
                raise CorpusError(
                    f"'{split}' has {len(found - classes)} values of '{self.label}' that training lacks: "
                    f"{sorted(found - classes)[:8]}; no model can learn them, change the split or filter the rows"
                )
        return tuple(sorted(classes))

    def least_frames(self, labels: Mapping[str, str]) -> int:
        """One frame is enough."""
        return 1

    def head(self, width: int, vocabulary: tuple[str, ...]) -> nn.Module:
        """Returns projection and linear; the mean over frames, linear too, is taken before them."""
        return nn.Sequential(nn.Linear(width, self.projection), nn.Linear(self.projection, len(vocabulary)))

    def loss(
        self, logits: Tensor, frames: Tensor, labels: Sequence[Mapping[str, str]], vocabulary: tuple[str, ...]
    ) -> Tensor:  # (batch, classes)
        """Returns the mean cross-entropy."""
        index = {name: number for number, name in enumerate(vocabulary)}
        wanted = torch.tensor([index[row[self.label]] for row in labels], device=logits.device)
        return F.cross_entropy(logits.float(), wanted)

    def decode(self, logits: Tensor, frames: Tensor, vocabulary: tuple[str, ...]) -> list[dict[str, Any]]:
        """Returns the likeliest class and all probabilities."""
        chances = logits.double().softmax(-1).cpu()
        best = chances.argmax(-1).tolist()
        return [
            {"said": vocabulary[said], "probabilities": dict(zip(vocabulary, row, strict=True))}
            for said, row in zip(best, chances.tolist(), strict=True)
        ]

    def truth(self, labels: Mapping[str, str]) -> str:
        """Returns the class."""
        return label(labels, self.label)

    def score(self, predictions: Sequence[dict[str, Any]]) -> dict[str, float]:
        """Returns accuracy and macro F1 over the classes that are true or said."""
        true, said = [row["true"] for row in predictions], [row["said"] for row in predictions]
        return {
            "accuracy": float(accuracy_score(true, said)),
            "macro_f1": float(f1_score(true, said, average="macro", zero_division=0.0)),
        }
