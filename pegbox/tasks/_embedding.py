"""Networks that turn frames into one embedding a clip, and margins between the classes they are trained with."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pegbox.tasks._heads import Pooling, pool, statistics

_CONTEXT = 14  # frames that the five layers of an x-vector use up
_TDNN = ((512, 5, 1), (512, 3, 2), (512, 3, 3), (512, 1, 1), (1500, 1, 1))  # width, kernel, dilation


class XVector(nn.Module):
    """SUPERB's x-vector (Snyder et al., 2018; arXiv:2105.01051): (embedding, classes' input) of every clip.

    Clips shorter than its reach are repeated.
    """

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.connector = nn.Linear(width, 512)
        widths = [512, *(layer[0] for layer in _TDNN)]
        self.layers = nn.ModuleList(
            nn.Conv1d(given, wanted, kernel, dilation=dilation)
            for given, (wanted, kernel, dilation) in zip(widths[:-1], _TDNN, strict=True)
        )
        self.first, self.second = nn.Linear(2 * widths[-1], size), nn.Linear(size, size)
        self.outputs = size

    def forward(self, x: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:  # (batch, time, width), (batch,)
        """Returns two embeddings: that of tests, and the one the classes are told apart by."""
        x = repeated(self.connector(x), frames, _CONTEXT + 2).transpose(1, 2)
        for layer in self.layers:
            x = layer(x).relu()
        counts = frames.to(x.device).clamp(min=_CONTEXT + 2) - _CONTEXT
        embedding = self.first(statistics(x.transpose(1, 2), counts)).relu()
        return embedding, self.second(embedding).relu()


class Bottleneck(nn.Module):
    """IPET's (arXiv:2211.02227): a linear layer on a pooled clip is the embedding, layer norm stands behind it."""

    def __init__(self, width: int, size: int, pooling: Pooling) -> None:
        super().__init__()
        self.pooling = pooling
        self.linear = nn.Linear(2 * width if pooling == "deviation" else width, size)
        self.norm = nn.LayerNorm(size)
        self.outputs = size

    def forward(self, x: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:  # (batch, time, width), (batch,)
        """Returns two embeddings: that of tests, and the one the classes are told apart by."""
        embedding = self.linear(pool(self.pooling, x, frames))
        return embedding, self.norm(embedding)


class Speakers(nn.Module):
    """An embedding and what it says of the speakers of training: cosines, or with `plain` outputs of a linear layer."""

    def __init__(self, network: XVector | Bottleneck, speakers: int, plain: bool) -> None:
        super().__init__()
        self.network, self.plain = network, plain
        self.classes = nn.Linear(network.outputs, speakers, bias=plain)
        if not plain:
            nn.init.xavier_normal_(self.classes.weight)

    def forward(self, x: Tensor, frames: Tensor) -> Tensor:  # (batch, time, width), (batch,) → (batch, size + speakers)
        """Returns embedding and outputs side by side."""
        embedding, inner = self.network(x, frames)
        if self.plain:
            return torch.cat([embedding, self.classes(inner)], -1)
        cosines = F.linear(F.normalize(inner, dim=-1), F.normalize(self.classes.weight, dim=-1))
        return torch.cat([embedding, cosines], -1)


def repeated(x: Tensor, frames: Tensor, least: int) -> Tensor:  # (batch, time, width), (batch,) → (batch, time', width)
    """Returns every clip over and over up to the longest one, which has at least so many frames."""
    counts = frames.to(x.device)
    place = torch.arange(max(int(frames.max()), least), device=x.device) % counts[:, None]
    return x.gather(1, place[..., None].expand(-1, -1, x.shape[2]))


def with_margin(cosines: Tensor, wanted: Tensor, margin: float, scale: float, angular: bool) -> Tensor:
    """Returns scaled cosines, those of the right class less a margin: of the cosine (AM) or of the angle (AAM)."""
    right = cosines.gather(1, wanted[:, None])
    if angular:
        angle = right.clamp(-1 + 1e-6, 1 - 1e-6).arccos() + margin
        less = torch.where(angle < torch.pi, angle.cos(), right - margin * torch.sin(torch.tensor(margin)))
    else:
        less = right - margin
    return scale * cosines.scatter(1, wanted[:, None], less)
