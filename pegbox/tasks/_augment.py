"""SpecAugment on features (Park et al., 2019, arXiv:1904.08779), with the sizes of SUPERB."""

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_WINDOW: Final = 5  # frames by which the warped one moves at most
_FEATURE_MASKS: Final = (4, 50)  # how many, and the width that none of them reaches
_TIME_MASKS: Final = (2, 40)


class Augmented(nn.Module):
    """A head over frames that sees warped and masked features while it trains."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, x: Tensor, frames: Tensor) -> Tensor:  # (batch, time, width), (batch,) → (batch, time, outputs)
        """Returns the head's outputs."""
        if self.training:
            clips = zip(x, frames.tolist(), strict=True)
            x = torch.stack([torch.cat([augmented(clip[:count]), clip[count:]]) for clip, count in clips])
        return self.head(x, frames)  # type: ignore[no-any-return]


def augmented(clip: Tensor) -> Tensor:  # (time, width)
    """Returns one clip with a part of its time stretched, and zeros in some features and frames."""
    clip = _warped(clip)
    frames, features = _mask(clip.shape[0], _TIME_MASKS), _mask(clip.shape[1], _FEATURE_MASKS)
    return clip.masked_fill((frames[:, None] | features[None]).to(clip.device), 0.0)


def _warped(clip: Tensor) -> Tensor:
    length, width = clip.shape
    if length <= 2 * _WINDOW:
        return clip
    centre = int(torch.randint(_WINDOW, length - _WINDOW, ()))
    moved = int(torch.randint(centre - _WINDOW, centre + _WINDOW, ())) + 1
    parts = ((clip[:centre], moved), (clip[centre:], length - moved))
    return torch.cat([F.interpolate(part[None, None], (size, width), mode="bicubic")[0, 0] for part, size in parts])


def _mask(size: int, masks: tuple[int, int]) -> Tensor:  # → (size,)
    count, limit = masks
    found = torch.zeros(size, dtype=torch.bool)
    for width in torch.randint(0, min(limit, size + 1), (count,)).tolist():
        start = int(torch.randint(0, size - width + 1, ()))
        found[start : start + width] = True
    return found
