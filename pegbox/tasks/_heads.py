"""Parts of heads that tasks share. Heads over frames take padded features and the number of each clip's real frames."""

from itertools import pairwise
from typing import Final, Literal

import torch
from torch import Tensor, nn

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
    """LSTMs over each clip's real frames, dropout behind each, and a linear layer; a projection in front if wanted.

    Padded frames are run over and never heard: they lie behind a clip, and before the LSTM that reads backwards its
    frames alone are turned around. On a CPU that takes a third to a fourteenth of a packed sequence's time."""

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
        heard = self.projector(x)
        back = _backwards(frames.to(x.device), x.shape[1]) if self.lstm.bidirectional else None
        for layer in range(self.lstm.num_layers):
            heard = self._layer(self.dropout(heard) if layer else heard, back, layer)
        return self.linear(self.dropout(heard))  # type: ignore[no-any-return]

    def _layer(self, x: Tensor, back: Tensor | None, layer: int) -> Tensor:  # (batch, time, in)
        """Returns what one layer makes of x, (batch, time, hidden), or twice that where it reads both ways."""
        if back is None:
            return _lstm(x, self.lstm.all_weights[layer])
        read = _lstm(_turned(x, back), self.lstm.all_weights[2 * layer + 1])
        return torch.cat([_lstm(x, self.lstm.all_weights[2 * layer]), _turned(read, back)], dim=-1)


def _lstm(x: Tensor, weights: list[nn.Parameter]) -> Tensor:  # (batch, time, in) → (batch, time, hidden)
    start = torch.zeros(1, len(x), weights[1].shape[1], device=x.device)
    with torch.autocast(x.device.type, enabled=False):  # not every processor has LSTMs in half precision
        return torch.lstm(
            x.float(), (start, start), tuple(weights), True, 1, 0.0, torch.is_grad_enabled(), False, True
        )[0]


def _backwards(frames: Tensor, length: int) -> Tensor:  # (batch,) → (batch, time)
    """Returns where each clip's frames lie when read from its last to its first; padded ones stay where they are."""
    at = torch.arange(length, device=frames.device).expand(len(frames), -1)
    return torch.where(at < frames[:, None], frames[:, None] - 1 - at, at)


def _turned(x: Tensor, order: Tensor) -> Tensor:  # (batch, time, width), (batch, time) → (batch, time, width)
    return x.gather(1, order[:, :, None].expand_as(x))
