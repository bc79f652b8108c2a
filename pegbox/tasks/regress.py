"""Regression: a number a clip, or several, such as arousal and valence; Lin's concordance (1989) as loss and score."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from scipy.stats import pearsonr, spearmanr
from torch import Tensor, nn
from torch.nn import functional as F

from pegbox.errors import CorpusError
from pegbox.tasks import _heads
from pegbox.tasks._labels import column, label, named

Array = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


@dataclass(frozen=True)
class Regress:
    """The numbers of one label column, or of several, learnt in units of their deviation in the training split.

    `objective` is the squared error, or one minus the concordance over the batch. Scores are `pearson`, `spearman`,
    `ccc` and `mse`, over several columns their means and each. The head, and `segment`, are as those of
    `classify`.
    """

    label: str | tuple[str, ...]
    objective: Literal["mse", "ccc"] = "mse"
    select: Literal["ccc", "pearson", "spearman", "mse"] = "ccc"
    projection: int = 256
    network: Literal["projected", "normed"] = "projected"
    pooling: Literal["mean", "deviation", "tokens"] = "mean"
    segment: float = 0.0

    framewise: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _heads.check_sizes("regress", self.projection, self.segment)
        named("regress", self.label)

    @property
    def columns(self) -> tuple[str, ...]:
        """The label columns."""
        return named("regress", self.label)

    @property
    def metric(self) -> str:
        """The score by which the best step is chosen."""
        return self.select

    @property
    def better(self) -> Literal["max", "min"]:
        """Which direction of that score is better."""
        return "min" if self.select == "mse" else "max"

    @property
    def pools(self) -> bool:
        """Whether the mean over frames is all that the head reads."""
        return self.pooling == "mean"

    def vocabulary(self, splits: Mapping[str, Sequence[Mapping[str, str]]]) -> tuple[str, ...]:
        """Returns name, mean and deviation of every column in the training split, each as JSON."""
        told = []
        for name in self.columns:
            values = {
                split: [number(text, name) for text in column(rows, name, split)] for split, rows in splits.items()
            }
            train = np.array(values["train"])
            if train.std() == 0:
                raise CorpusError(f"'{name}' is {train[0]} in all {len(train)} clips of the training split")
            told.append(json.dumps([name, float(train.mean()), float(train.std())], ensure_ascii=False))
        return tuple(told)

    def loss(
        self, logits: Tensor, frames: Tensor, labels: Sequence[Mapping[str, str]], vocabulary: tuple[str, ...]
    ) -> Tensor:  # (batch, columns)
        """Returns the loss, a mean over the columns; one clip alone has no concordance, but a squared error."""
        scales = [json.loads(unit) for unit in vocabulary]
        rows = [[(number(row[name], name) - mean) / deviation for name, mean, deviation in scales] for row in labels]
        wanted = torch.tensor(rows, device=logits.device, dtype=torch.float32)
        if self.objective == "mse" or len(rows) == 1:
            return F.mse_loss(logits.float(), wanted)
        return 1 - _concordance(logits.float(), wanted).mean()

    def head(self, width: int, vocabulary: tuple[str, ...]) -> nn.Module:
        """Returns the head; it gives deviations from the mean."""
        return _heads.over_clips(width, len(vocabulary), self.network, self.pooling, self.projection)

    def decode(self, logits: Tensor, frames: Tensor, vocabulary: tuple[str, ...]) -> list[dict[str, Any]]:
        """Returns the numbers, of several columns joined by '|'."""
        scales = [json.loads(unit) for unit in vocabulary]
        return [
            _row({name: mean + deviation * value for (name, mean, deviation), value in zip(scales, clip, strict=True)})
            for clip in logits.double().tolist()
        ]

    def join(self, parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Returns the mean numbers of the parts."""
        return _row({name: fmean(part["values"][name] for part in parts) for name in parts[0]["values"]})

    def truth(self, labels: Mapping[str, str]) -> str:
        """Returns the numbers, of several columns joined by '|'."""
        return "|".join(repr(number(label(labels, name), name)) for name in self.columns)

    def score(self, predictions: Sequence[dict[str, Any]]) -> dict[str, float]:
        """Returns correlations, concordance and squared error; what is constant has no correlation: not a number."""
        true, said = (np.array([_numbers(row[key]) for row in predictions]) for key in ("true", "said"))
        each = [scores(true[:, place], said[:, place]) for place in range(len(self.columns))]
        found = {name: float(np.mean([part[name] for part in each])) for name in each[0]}
        if len(self.columns) == 1:
            return found
        named = zip(self.columns, each, strict=True)
        return found | {f"{score}_{name}": value for name, part in named for score, value in part.items()}

    def least_frames(self, labels: Mapping[str, str]) -> int:
        """One frame is enough."""
        return 1

    def paced(self, seconds: float | None) -> "Regress":
        """Returns itself; refuses to take frames for tokens."""
        _heads.need_tokens("regress", self.pooling, seconds)
        return self


def scores(true: Array, said: Array) -> dict[str, float]:
    """Returns Pearson's and Spearman's correlation, Lin's concordance and the mean squared error."""
    known = len(true) > 1 and np.ptp(true) > 0 and np.ptp(said) > 0
    return {
        "ccc": float(_concordance(torch.from_numpy(said), torch.from_numpy(true))),
        "pearson": float(pearsonr(true, said).statistic) if known else math.nan,
        "spearman": float(spearmanr(true, said).statistic) if known else math.nan,
        "mse": float(((true - said) ** 2).mean()),
    }


def number(text: str, name: str) -> float:
    """Returns a label as a number, or says what it is instead."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise CorpusError(f"the label '{name}' is {text!r}, no finite number; filter such rows out or correct them")
    return value


def _row(values: dict[str, float]) -> dict[str, Any]:
    return {"said": "|".join(f"{value:.6g}" for value in values.values()), "values": values}


def _numbers(text: str) -> list[float]:
    return [float(part) for part in text.split("|")]


def _concordance(said: Tensor, true: Tensor) -> Tensor:  # both (clips, …)
    """Returns Lin's coefficient over the clips: 2·covariance over both variances and the squared gap of the means."""
    left, right = said - said.mean(0), true - true.mean(0)
    spread = left.square().mean(0) + right.square().mean(0) + (said.mean(0) - true.mean(0)).square()
    return 2 * (left * right).mean(0) / spread.clamp(min=1e-12)
