"""Diarization: who speaks when, frame by frame, with SUPERB's LSTM (arXiv:2105.01051) and a loss for any order."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final, Literal

import numpy as np
import torch
from torch import Tensor, nn

from pegbox.errors import CorpusError, RecipeError
from pegbox.tasks import _orders, _turns
from pegbox.tasks._heads import Recurrent
from pegbox.tasks._labels import column, label
from pegbox.tasks._turns import rttm

__all__ = ["Diarize", "rttm"]

_THRESHOLDS: Final = (0.5, 0.4, 0.6, 0.3, 0.7)
_MEDIANS: Final = (1, 11)
_DIGITS: Final = {"clean": 6, "reference": 2}


@dataclass(frozen=True)
class Diarize:
    """Turns in a column, JSON: [who, start, end] in seconds, of at most so many `speakers` a clip.

    A frame has a speaker whose chance is above `threshold`, after a median over `median` frames; with `tuned` both are
    chosen by DER on the validation split. `period` is the seconds of a frame, as the backbone tells them.
    `protocol="reference"` does as SUPERB's toolkit: steps by frame accuracy, times of two decimals, and the lowest DER
    over thresholds and medians on the very clips that are scored.
    """

    label: str = "turns"
    speakers: int = 2
    hidden: int = 512
    threshold: float = 0.5
    median: int = 1
    tuned: bool = True
    period: float = 0.02
    protocol: Literal["clean", "reference"] = "clean"

    framewise: ClassVar[bool] = True
    timed: ClassVar[bool] = True
    pools: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not (1 <= self.speakers <= 4 and self.hidden > 0 and self.period > 0):
            raise RecipeError("diarize: 1 to 4 speakers, a hidden width and a period above 0")
        if not 0 < self.threshold < 1 or self.median < 1 or self.median % 2 == 0:
            raise RecipeError("diarize: a threshold between 0 and 1 and a median over 1, 3, 5 … frames")

    @property
    def metric(self) -> str:
        """The score by which the best step is chosen."""
        return "der" if self.protocol == "clean" else "frame_accuracy"

    @property
    def better(self) -> Literal["max", "min"]:
        """Which direction of that score is better."""
        return "min" if self.protocol == "clean" else "max"

    def paced(self, seconds: float | None) -> "Diarize":
        """Returns the task for frames of that many seconds."""
        return self if seconds is None else replace(self, period=seconds)

    def vocabulary(self, splits: Mapping[str, Sequence[Mapping[str, str]]]) -> tuple[str, ...]:
        """Returns the speakers by number; refuses turns that cannot be read and clips with more speakers."""
        for split, rows in splits.items():
            for text in column(rows, self.label, split):
                names = sorted({who for who, _, _ in _turns.read(text)})
                if len(names) > self.speakers:
                    raise CorpusError(f"a clip of '{split}' has {len(names)} speakers {names[:8]}; see speakers=…")
        return tuple(str(number + 1) for number in range(self.speakers))

    def least_frames(self, labels: Mapping[str, str]) -> int:
        """One frame is enough."""
        return 1

    def head(self, width: int, vocabulary: tuple[str, ...]) -> nn.Module:
        """Returns one LSTM, which hears only what was before, and a linear layer."""
        return Recurrent(width, len(vocabulary), self.hidden)

    def loss(
        self, logits: Tensor, frames: Tensor, labels: Sequence[Mapping[str, str]], vocabulary: tuple[str, ...]
    ) -> Tensor:  # (batch, time, speakers)
        """Returns the binary cross-entropy a frame, of each clip in the order of speakers that makes it least."""
        counts = frames.tolist()
        truths = [self._active(row[self.label], count) for row, count in zip(labels, counts, strict=True)]
        losses = [
            _orders.best(clip[:count].float(), torch.from_numpy(truth).to(clip.device, torch.float32))[1]
            for clip, count, truth in zip(logits, counts, truths, strict=True)
        ]
        total: Tensor = torch.stack(losses).sum() / sum(counts)
        return total

    def decode(self, logits: Tensor, frames: Tensor, vocabulary: tuple[str, ...]) -> list[dict[str, Any]]:
        """Returns the turns as JSON, and the chance of every speaker in every frame."""
        chances = logits.detach().double().sigmoid().cpu().numpy().round(4)
        parts = [clip[:count] for clip, count in zip(chances, frames.tolist(), strict=True)]
        return [self._said({"chances": part.tolist()}, self.threshold, self.median) for part in parts]

    def tune(self, predictions: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Returns the threshold and the median with the lowest DER."""
        if not self.tuned or self.protocol == "reference":
            return {}
        threshold, median = min(_settings(), key=lambda setting: self._der(predictions, *setting))
        return {"threshold": threshold, "median": median}

    def files(self, predictions: Sequence[dict[str, Any]]) -> dict[str, str]:
        """Returns what is said and what is true as RTTM."""
        return {"rttm": rttm(predictions), "true.rttm": rttm(predictions, "true")}

    def truth(self, labels: Mapping[str, str]) -> str:
        """Returns the turns as JSON, by time."""
        return _turns.write(_turns.read(label(labels, self.label)))

    def score(self, predictions: Sequence[dict[str, Any]]) -> dict[str, float]:
        """Returns DER and its parts, and with chances the share of right decisions about speakers in frames."""
        rows = predictions
        known = all("chances" in row for row in rows)
        if self.protocol == "reference" and known:
            best = min(_settings(), key=lambda setting: self._der(rows, *setting))
            rows = [self._said(row, *best) for row in rows]
        rates = _turns.error_rates([(_turns.read(row["true"]), _turns.read(row["said"])) for row in rows])
        return rates | ({"frame_accuracy": self._accuracy(rows)} if known else {})

    def summands(self, row: Mapping[str, Any]) -> tuple[float, float]:
        """Returns seconds that are wrong in a clip, and seconds of speech in it, of which DER is the ratio."""
        true = _turns.read(row["true"])
        spoken = sum(end - start for _, start, end in true)
        return (_turns.error_rates([(true, _turns.read(row["said"]))])["der"] * spoken if spoken else 0.0), spoken

    def _active(self, turns: str, count: int) -> _turns.Array:
        rounded = self.protocol == "reference"
        return _turns.frames(_turns.read(turns), count, self.period, self.speakers, rounded)

    def _said(self, row: Mapping[str, Any], threshold: float, median: int) -> dict[str, Any]:
        chances = np.array(row["chances"], np.float64).reshape(-1, self.speakers)
        digits = _DIGITS[self.protocol]
        turns = _turns.spoken(chances, threshold, median, row.get("period", self.period), digits)
        return {**row, "said": _turns.write(turns), "period": row.get("period", self.period)}

    def _der(self, rows: Sequence[Mapping[str, Any]], threshold: float, median: int) -> float:
        said = [self._said(row, threshold, median) for row in rows]
        return _turns.error_rates([(_turns.read(row["true"]), _turns.read(row["said"])) for row in said])["der"]

    def _accuracy(self, rows: Sequence[Mapping[str, Any]]) -> float:
        right = total = 0.0
        for row in rows:
            chances = np.array(row["chances"]).reshape(-1, self.speakers)
            truth = replace(self, period=row.get("period", self.period))._active(row["true"], len(chances))
            logits = torch.logit(torch.from_numpy(chances), eps=1e-6)
            wanted, _ = _orders.best(logits, torch.from_numpy(truth))
            right += ((chances > 0.5) == wanted.numpy()).sum()
            total += truth.size
        return float(right / total)


def _settings() -> list[tuple[float, int]]:
    return [(threshold, median) for median in _MEDIANS for threshold in _THRESHOLDS]
