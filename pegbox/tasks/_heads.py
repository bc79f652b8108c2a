"""Parts of heads that tasks share. Heads over frames take padded features and the number of each clip's real frames."""

from itertools import pairwise
from typing import Final, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from pegbox.errors import RecipeError

Pooling = Literal["mean", "deviation", "tokens"]
_LEAST_VARIANCE: Final = 1e-10  # the root has no slope at zero


def real_frames(x: Tensor, frames: Tensor) -> Tensor:  # (batch, time, …), (batch,) → (batch, time)
    """Returns which frames are a clip's own."""
    return torch.arange(x.shape[1], device=x.device) < frames.to(x.device)[:, None]


def statistics(x: Tensor, frames: Tensor) -> Tensor:  # (batch, time, width), (batch,) → (batch, 2 · width)
    """Returns mean and unbiased standard deviation over each clip's real frames."""
    padding = ~real_frames(x, frames)[..., None]
    count = (~padding).sum(1)
    mean = x.masked_fill(padding, 0.0).sum(1) / count
    squares = (x - mean[:, None]).masked_fill(padding, 0.0).square().sum(1)
    variance = squares / (count - 1).clamp(min=1)
    return torch.cat([mean, variance.clamp(min=_LEAST_VARIANCE).sqrt()], -1)


def pool(pooling: Pooling, x: Tensor, frames: Tensor) -> Tensor:  # (batch, time, width), (batch,) → (batch, …)
    """Returns one vector a clip."""
    if pooling == "tokens":
        return x[:, :2].mean(1)
    found = statistics(x, frames)
    return found if pooling == "deviation" else found[:, : x.shape[2]]


def over_clips(
    width: int, outputs: int, network: Literal["projected", "normed"], pooling: Pooling, projection: int
) -> nn.Module:
    """Returns a head over clips: two linear layers, or layer norm and one; means come to it pooled already."""
    given = 2 * width if pooling == "deviation" else width
    if network == "normed":
        inner = nn.Sequential(nn.LayerNorm(given), nn.Linear(given, outputs))
    else:
        inner = nn.Sequential(nn.Linear(given, projection), nn.Linear(projection, outputs))
    return inner if pooling == "mean" else Pooled(pooling, inner)


def check_sizes(task: str, projection: int, segment: float) -> None:
    """Refuses a first layer without width, and parts of clips without length."""
    if projection < 1:
        raise RecipeError(f"{task}(projection={projection}): a width of at least 1")
    if segment < 0:
        raise RecipeError(f"{task}(segment={segment}): seconds, or 0 to hear every clip whole")


def need_tokens(task: str, pooling: Pooling, seconds: float | None) -> None:
    """Refuses to take frames, which last some seconds, for tokens."""
    if pooling == "tokens" and seconds is not None:
        raise RecipeError(f'{task}(pooling="tokens"): this backbone has frames, no tokens; take "mean"')


class Pooled(nn.Module):
    """Mean and deviation over time, or the mean of the first two tokens (AST's), and then a head over clips."""

    def __init__(self, pooling: Pooling, inner: nn.Module) -> None:
        super().__init__()
        self.pooling, self.inner = pooling, inner

    def forward(self, x: Tensor, frames: Tensor) -> Tensor:  # (batch, time, width), (batch,) → (batch, outputs)
        """Returns the inner head's outputs."""
        return self.inner(pool(self.pooling, x, frames))  # type: ignore[no-any-return]


class PerFrame(nn.Module):
    """Linear layers, which see one frame at a time."""

    def __init__(self, *widths: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(nn.Linear(given, wanted) for given, wanted in pairwise(widths)))

    def forward(self, x: Tensor, frames: Tensor) -> Tensor:  # (batch, time, width), (batch,) → (batch, time, outputs)
        """Returns the outputs of every frame."""
        return self.layers(x)  # type: ignore[no-any-return]


class Recurrent(nn.Module):
    """LSTMs over each clip's real frames, dropout behind each, and a linear layer; a projection in front if wanted."""

    def __init__(
        self, width: int, outputs: int, hidden: int, layers: int = 1, both_ways: bool = False, projection: int = 0
    ) -> None:
        super().__init__()
        dropout = 0.2 if both_ways else 0.0
        self.projector = nn.Linear(width, projection) if projection else nn.Identity()
        self.lstm = nn.LSTM(
            projection or width, hidden, layers, batch_first=True, dropout=dropout, bidirectional=both_ways
        )
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(2 * hidden if both_ways else hidden, outputs)

    def forward(self, x: Tensor, frames: Tensor) -> Tensor:  # (batch, time, width), (batch,) → (batch, time, outputs)
        """Returns the outputs of every frame; those beyond a clip's end mean nothing."""
        packed = pack_padded_sequence(self.projector(x), frames.cpu(), batch_first=True, enforce_sorted=False)
        heard, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True, total_length=x.shape[1])
        return self.linear(self.dropout(heard))  # type: ignore[no-any-return]
