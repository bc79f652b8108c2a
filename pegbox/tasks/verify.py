"""Speaker verification: embeddings compared by cosine, from SUPERB's x-vector (arXiv:2105.01051) or IPET's head."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mode
from typing import Any, ClassVar, Final, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pegbox.errors import CorpusError, RecipeError
from pegbox.tasks import _heads, _trials
from pegbox.tasks._embedding import Bottleneck, Speakers, XVector, with_margin
from pegbox.tasks._labels import column, label

_SIZES: Final = {"xvector": 512, "pooled": 128}
_MOST_OTHERS: Final = 400  # of a cohort


@dataclass(frozen=True)
class Verify:
    """Trained to tell the speakers of the training split apart, tested on pairs of clips of any speaker.

    Pairs are the corpus's trials, or else all of a split. `network` is `xvector`, or IPET's `pooled` clip under one
    linear layer; `size` 0 is its own width. `objective`: `am` or `aam` softmax with `margin` and `scale`, or plain
    cross-entropy `ce`. `normalise="as"` sees scores as the `top` nearest validation clips of both sides do (AS-norm).
    Clips longer than `segment` seconds are heard in parts of which the embeddings are averaged; 0 hears them whole.
    `protocol="reference"` takes, as SUPERB's toolkit, the step with the lowest EER on the test trials themselves.
    """

    label: str = "speaker"
    network: Literal["xvector", "pooled"] = "xvector"
    pooling: Literal["mean", "deviation", "tokens"] = "deviation"
    size: int = 0
    objective: Literal["am", "aam", "ce"] = "am"
    margin: float = 0.4
    scale: float = 30.0
    normalise: Literal["none", "as"] = "none"
    top: int = 300
    p_target: float = 0.01
    c_miss: float = 1.0
    c_false: float = 1.0
    segment: float = 0.0
    protocol: Literal["clean", "reference"] = "clean"
    cohort: tuple[tuple[float, ...], ...] = ()  # chosen on the validation split

    metric: ClassVar[str] = "eer"
    better: ClassVar[Literal["max", "min"]] = "min"
    framewise: ClassVar[bool] = False
    pools: ClassVar[bool] = False
    pairs: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not (0 < self.p_target < 1 and min(self.c_miss, self.c_false, self.scale) > 0 and 0 <= self.margin < 1.6):
            raise RecipeError("verify: p_target between 0 and 1, costs and scale above 0, a margin from 0 to 1.6")
        if self.size < 0 or self.top < 2:
            raise RecipeError(f"verify(size={self.size}, top={self.top}): no negative size, a cohort of 2 or more")
        _heads.check_sizes("verify", 1, self.segment)
        if self.network == "xvector" and self.pooling != "deviation":
            raise RecipeError('verify(pooling=…): an option of network="pooled"; the x-vector has its own')
        if self.peeks and self.normalise != "none":
            raise RecipeError(
                'verify(protocol="reference"): scores are not normalised there; the cohort would be tested'
            )

    @property
    def peeks(self) -> bool:
        """Whether the best step is chosen by the clips that are tested."""
        return self.protocol == "reference"

    def paced(self, seconds: float | None) -> "Verify":
        """Returns itself; refuses to take frames for tokens, and patches for frames."""
        _heads.need_tokens("verify", self.pooling, seconds)
        if self.network == "xvector" and seconds is None:
            raise RecipeError('verify(network="xvector") needs a time axis; take network="pooled" for patches')
        return self

    def vocabulary(self, splits: Mapping[str, Sequence[Mapping[str, str]]]) -> tuple[str, ...]:
        """Returns the speakers of the training split, sorted; the others may have any."""
        found = {split: set(column(rows, self.label, split)) for split, rows in splits.items()}.get("train", set())
        if len(found) < 2:
            raise CorpusError(f"the training split has {len(found)} value of '{self.label}'; at least 2 are needed")
        return tuple(sorted(found))

    def classes(self, labels: Mapping[str, str]) -> set[str]:
        """Returns the one speaker."""
        return {labels[self.label]}

    def least_frames(self, labels: Mapping[str, str]) -> int:
        """One frame is enough: shorter clips than the network needs are repeated."""
        return 1

    def head(self, width: int, vocabulary: tuple[str, ...]) -> nn.Module:
        """Returns the network and its classes; it gives embedding and classes' outputs side by side."""
        size = self._size
        made = XVector(width, size) if self.network == "xvector" else Bottleneck(width, size, self.pooling)
        return Speakers(made, len(vocabulary), self.objective == "ce")

    def loss(
        self, logits: Tensor, frames: Tensor, labels: Sequence[Mapping[str, str]], vocabulary: tuple[str, ...]
    ) -> Tensor:  # (batch, size + speakers)
        """Returns the mean cross-entropy over the clips of training's speakers; 0 where there are none."""
        index = {name: number for number, name in enumerate(vocabulary)}
        known = [n for n, row in enumerate(labels) if row[self.label] in index]
        given = logits[known, self._size :].float()
        if not known:
            return given.sum()
        wanted = torch.tensor([index[labels[n][self.label]] for n in known], device=logits.device)
        if self.objective != "ce":
            given = with_margin(given, wanted, self.margin, self.scale, self.objective == "aam")
        return F.cross_entropy(given, wanted)

    def decode(self, logits: Tensor, frames: Tensor, vocabulary: tuple[str, ...]) -> list[dict[str, Any]]:
        """Returns the nearest speaker of training, the embedding, and with AS-norm what its cohort makes of it."""
        vectors = _trials.unit(logits[:, : self._size].double().tolist())
        said = [vocabulary[n] for n in logits[:, self._size :].argmax(-1).tolist()]
        rows: list[dict[str, Any]] = [
            {"said": name, "embedding": vector} for name, vector in zip(said, vectors.round(6).tolist(), strict=True)
        ]
        if not self.cohort:
            return rows
        seen = _trials.cohort_statistics(vectors, _trials.unit(self.cohort), self.top)
        return [{**row, "cohort": pair} for row, pair in zip(rows, seen.tolist(), strict=True)]

    def join(self, parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Returns the mean of the parts' embeddings, each of length one, and of what their cohort makes of them."""
        kept = [key for key in ("embedding", "cohort") if key in parts[0]]
        means = {key: np.mean([part[key] for part in parts], 0).round(6).tolist() for key in kept}
        return {"said": mode(part["said"] for part in parts), **means}

    def tune(self, predictions: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Returns the cohort: the validation clips, or evenly some of them."""
        if self.normalise == "none":
            return {}
        step = -(-len(predictions) // _MOST_OTHERS)
        return {"cohort": [row["embedding"] for row in predictions[::step]]}

    def truth(self, labels: Mapping[str, str]) -> str:
        """Returns the speaker."""
        return label(labels, self.label)

    def score(self, predictions: Sequence[dict[str, Any]]) -> dict[str, float]:
        """Returns EER and minDCF over the pairs."""
        _, _, same, scores = self.compared(predictions)
        cost = _trials.least_cost(same, scores, self.p_target, self.c_miss, self.c_false)
        return {"eer": _trials.equal_error_rate(same, scores), "min_dcf": cost}

    def compared(
        self, predictions: Sequence[dict[str, Any]]
    ) -> tuple[_trials.Array, _trials.Array, _trials.Array, _trials.Array]:
        """Returns of every pair the places of its clips, whether they match, and its score; each (pairs,)."""
        first, second, same = _trials.pairs(predictions)
        vectors = _trials.unit([row["embedding"] for row in predictions])
        scores = np.einsum("ij,ij->i", vectors[first], vectors[second])
        if self.normalise == "as" and all("cohort" in row for row in predictions):
            seen = np.array([row["cohort"] for row in predictions])
            scores = _trials.normalised(scores, seen[first], seen[second])
        return first, second, same, scores

    @property
    def _size(self) -> int:
        return self.size or _SIZES[self.network]
