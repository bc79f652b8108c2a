"""Tagging: any number of classes a clip, each by its own logistic output, scored as FSD50K is (arXiv:2010.00475)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, ClassVar, Final, Literal

import numpy as np
import torch
from sklearn.metrics import average_precision_score, roc_auc_score
from torch import Tensor, nn
from torch.nn import functional as F

from pegbox.errors import CorpusError, RecipeError, nearest
from pegbox.tasks import _heads, _labels
from pegbox.tasks._labels import learnable

Array = np.ndarray[Any, np.dtype[Any]]

_SURE: Final = 1e-6  # an AUC of 1 has no finite d'


@dataclass(frozen=True)
class Tag:
    """The tags of a column, between separators; a clip may have none, an empty or missing label.

    `mAP` and `mAUC` are means over the classes that are there in some clips and not in all; `d_prime` is that of mAUC.
    A tag is said when its chance is above `threshold`, which moves no score. Head and `segment` are as in `classify`.
    """

    label: str
    separator: str = ","
    threshold: float = 0.5
    projection: int = 256
    network: Literal["projected", "normed"] = "projected"
    pooling: Literal["mean", "deviation", "tokens"] = "mean"
    segment: float = 0.0

    metric: ClassVar[str] = "mAP"
    better: ClassVar[Literal["max", "min"]] = "max"
    framewise: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _heads.check_sizes("tag", self.projection, self.segment)
        if not self.separator or not 0 < self.threshold < 1:
            raise RecipeError(f"{self}: a separator, and a threshold between 0 and 1")

    @property
    def pools(self) -> bool:
        """Whether the mean over frames is all that the head reads."""
        return self.pooling == "mean"

    def vocabulary(self, splits: Mapping[str, Sequence[Mapping[str, str]]]) -> tuple[str, ...]:
        """Returns the tags of the training split, sorted; a tag that only another split has is refused."""
        train = splits.get("train", ())
        if train and all(self.label not in row for row in train):
            raise CorpusError(
                f"the rows of 'train' have no label '{self.label}'"
                f"{nearest(self.label, {key for row in train for key in row})}"
            )
        return learnable(self.label, {split: self._found(rows) for split, rows in splits.items()})

    def classes(self, labels: Mapping[str, str]) -> set[str]:
        """Returns the tags; clips without any are a class of their own, ''."""
        return self._tags(labels) or {""}

    def least_frames(self, labels: Mapping[str, str]) -> int:
        """One frame is enough."""
        return 1

    def head(self, width: int, vocabulary: tuple[str, ...]) -> nn.Module:
        """Returns the head; a mean over frames is taken before it."""
        return _heads.over_clips(width, len(vocabulary), self.network, self.pooling, self.projection)

    def loss(
        self, logits: Tensor, frames: Tensor, labels: Sequence[Mapping[str, str]], vocabulary: tuple[str, ...]
    ) -> Tensor:  # (batch, tags)
        """Returns the mean binary cross-entropy over clips and tags."""
        return self._entropies(logits, labels, vocabulary).mean()

    def mixed_loss(
        self,
        logits: Tensor,
        labels: Sequence[Mapping[str, str]],
        others: Sequence[Mapping[str, str]],
        shares: Tensor,
        vocabulary: tuple[str, ...],
    ) -> Tensor:  # (batch, tags), (batch,)
        """Returns the mean binary cross-entropy with both clips' tags; one that both have is wanted wholly."""
        one, other = (self._entropies(logits, each, vocabulary) for each in (labels, others))
        return _labels.blend(one, other, shares)

    def decode(self, logits: Tensor, frames: Tensor, vocabulary: tuple[str, ...]) -> list[dict[str, Any]]:
        """Returns the tags whose chance is above the threshold, and every chance."""
        found = []
        for row in logits.double().sigmoid().tolist():
            chances = dict(zip(vocabulary, row, strict=True))
            said = [name for name, chance in chances.items() if chance > self.threshold]
            found.append({"said": self.separator.join(said), "probabilities": chances})
        return found

    def join(self, parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Returns the tags that the mean output of the parts says."""
        chances = torch.tensor([list(part["probabilities"].values()) for part in parts], dtype=torch.float64)
        (row,) = self.decode(chances.logit(eps=1e-9).mean(0)[None], chances, tuple(parts[0]["probabilities"]))
        return row

    def truth(self, labels: Mapping[str, str]) -> str:
        """Returns the tags, sorted."""
        return self.separator.join(sorted(self._tags(labels)))

    def score(self, predictions: Sequence[dict[str, Any]]) -> dict[str, float]:
        """Returns mAP, mAUC and d'; rows without chances count as sure of what they say."""
        wanted, given = self.table(predictions)
        told = [n for n in range(wanted.shape[1]) if 0 < wanted[:, n].sum() < len(wanted)]
        if not told:
            raise CorpusError(f"{len(wanted)} clips, and no tag that some have and others not: nothing to score")
        precision = np.mean([average_precision_score(wanted[:, n], given[:, n]) for n in told])
        area = float(np.mean([roc_auc_score(wanted[:, n], given[:, n]) for n in told]))
        return {"mAP": float(precision), "mAUC": area, "d_prime": d_prime(area)}

    def table(self, predictions: Sequence[Mapping[str, Any]]) -> tuple[Array, Array]:  # (clips, tags) both
        """Returns which tags each clip has, and what chance it was given."""
        rows = [(self._split(row["true"]), self._chances(row)) for row in predictions]
        names = sorted({name for true, chances in rows for name in (*true, *chances)})
        wanted = np.array([[name in true for name in names] for true, _ in rows])
        return wanted, np.array([[chances.get(name, 0.0) for name in names] for _, chances in rows])

    def paced(self, seconds: float | None) -> "Tag":
        """Returns itself; refuses to take frames for tokens."""
        _heads.need_tokens("tag", self.pooling, seconds)
        return self

    def _entropies(
        self, logits: Tensor, labels: Sequence[Mapping[str, str]], vocabulary: tuple[str, ...]
    ) -> Tensor:  # (batch, tags) → (batch,)
        wanted = [[float(name in self._tags(row)) for name in vocabulary] for row in labels]
        truth = torch.tensor(wanted, device=logits.device)
        return F.binary_cross_entropy_with_logits(logits.float(), truth, reduction="none").mean(-1)

    def _found(self, rows: Sequence[Mapping[str, str]]) -> set[str]:
        return {name for row in rows for name in self._tags(row)}

    def _tags(self, labels: Mapping[str, str]) -> set[str]:
        return self._split(labels.get(self.label, ""))

    def _split(self, text: str) -> set[str]:
        return {name.strip() for name in text.split(self.separator) if name.strip()}

    def _chances(self, row: Mapping[str, Any]) -> dict[str, float]:
        return row["probabilities"] if "probabilities" in row else dict.fromkeys(self._split(row["said"]), 1.0)


def d_prime(area: float) -> float:
    """Returns how many deviations two normal distributions lie apart of which a ROC curve has that area."""
    return 2**0.5 * NormalDist().inv_cdf(min(max(area, _SURE), 1 - _SURE))
