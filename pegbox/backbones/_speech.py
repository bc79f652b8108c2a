"""What wav2vec 2.0 and its kin share: a strided convolution front-end over the waveform, then blocks."""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import torch
from torch import Tensor, nn

from pegbox.backbones import _ready
from pegbox.backbones._family import Entry, Family, Front, Memory, Part, State, Undo, Where

ROLES: Final[Mapping[str, Where]] = MappingProxyType(
    {
        "enter": Entry(""),
        "q": "attention.q_proj",
        "k": "attention.k_proj",
        "v": "attention.v_proj",
        "o": "attention.out_proj",
        "memory": Memory("attention"),
        "attn": "attention",
        "norm1": "layer_norm",
        "up": "feed_forward.intermediate_dense",
        "down": "feed_forward.output_dense",
        "ffn": "feed_forward",
        "norm2": "final_layer_norm",
        "leave": "",
    }
)
PADDING: Final = (
    "exact: results do not depend on the other clips of a batch; where the front-end has a group norm over time, "
    "clips of unequal length pass through it one length at a time"
)


class Normalise(nn.Module):
    """Zero mean and unit variance over each clip's own samples, where the checkpoint asks for it."""

    def __init__(self, front: Front, config: Any) -> None:
        super().__init__()
        self.active = bool(front.settings.get("do_normalize", True))

    def forward(self, wave: Tensor, lengths: Tensor) -> Tensor:  # (batch, samples), (batch,)
        """Returns the waveforms to feed; padded samples are zero."""
        real = torch.arange(wave.shape[1], device=wave.device) < lengths.to(wave.device)[:, None]
        if not self.active:
            return wave * real
        count = lengths.to(wave)[:, None]
        mean = (wave * real).sum(1, keepdim=True) / count
        centred = (wave - mean) * real
        variance = centred.square().sum(1, keepdim=True) / count
        return centred / torch.sqrt(variance + 1e-7)


def stem_roles(core: nn.Module) -> dict[str, Where]:
    """Returns the stem's sites; a convolution's site is its whole layer, its weight the convolution's."""
    layers = core.get_submodule("feature_extractor.conv_layers")
    convs = {f"conv.{i}": f"feature_extractor.conv_layers.{i}" for i, _ in enumerate(layers.children())}
    parts = {role: Part(path, f"{path}.conv") for role, path in convs.items()}
    return {"wave": Entry("feature_extractor"), **parts, "frames": "feature_projection.dropout"}


def enter(core: Any, found: Tensor, frames: Tensor) -> State:  # (batch, time, conv width), (batch,)
    """Returns the state after the front-end's projection and the positional convolution."""
    x, mask = projected(core, found, frames)
    x = x + core.encoder.pos_conv_embed(x)
    if not stable(core.config):
        x = core.encoder.layer_norm(x)
    return State(core.encoder.dropout(x), mask)


def projected(core: Any, found: Tensor, frames: Tensor) -> tuple[Tensor, Tensor | None]:  # (batch, time, …), (batch,)
    """Returns the front-end's frames in the width of the blocks, zero beyond each clip's own, and which are real."""
    made = core.feature_projection(found)
    x = made[0] if isinstance(made, tuple) else made
    mask = padding_mask(frames, x)
    return only_real(x, mask), mask


def only_real(x: Tensor, mask: Tensor | None) -> Tensor:  # (batch, time, width), (batch, time)
    """Returns x with zeros on padded frames."""
    return x if mask is None else x.masked_fill(~mask[..., None], 0.0)


def stable(config: Any) -> bool:
    """Returns whether the blocks are pre-norm, with a final norm; kin without that choice are post-norm."""
    return bool(getattr(config, "do_stable_layer_norm", False))


def step(block: nn.Module, state: State) -> State:
    """Returns the state after one block."""
    return State(block(state.x, attention_mask=state.attention_mask), state.mask)


def norm(core: Any, x: Tensor) -> Tensor:  # (batch, time, width)
    """Returns what follows the last block: a layer norm in pre-norm networks only."""
    return core.encoder.layer_norm(x) if stable(core.config) else x


def padding_mask(frames: Tensor, x: Tensor) -> Tensor | None:  # (batch,), (batch, time, width) → (batch, time)
    """Returns which frames are real, or None when all are."""
    if int(frames.min()) == x.shape[1]:
        return None
    return torch.arange(x.shape[1], device=x.device) < frames.to(x.device)[:, None]


def frames_of(config: Any, samples: int) -> int:
    """Returns the frames that the strided convolutions leave of a clip."""
    for kernel, stride in zip(config.conv_kernel, config.conv_stride, strict=True):
        samples = (samples - kernel) // stride + 1
    return samples


def hop(config: Any) -> int:
    """Returns samples a frame."""
    return math.prod(config.conv_stride)


def receptive_field(config: Any, frames: int = 1) -> int:
    """Returns the samples that the first frames see, the least that a clip must have."""
    samples = frames
    for kernel, stride in zip(reversed(config.conv_kernel), reversed(config.conv_stride), strict=True):
        samples = (samples - 1) * stride + kernel
    return samples


def unlimited(config: Any) -> None:
    """No positional table ends."""


def ready(core: Any) -> Undo:
    """Stops back-propagation into the frozen front-end and LayerDrop, which would leave parts without gradient."""
    extractor, undo_drop = core.feature_extractor, _ready.no_layerdrop(core.config)
    before, extractor._requires_grad = extractor._requires_grad, False

    def undo() -> None:
        undo_drop()
        extractor._requires_grad = before

    return undo


def features(core: Any, wave: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:  # (batch, samples), (batch,)
    """Returns what the convolutions make of the clips, (batch, time, conv width), and how many frames are each clip's.

    What stands beyond a clip's own frames has no meaning.
    """
    frames = torch.tensor([frames_of(core.config, n) for n in lengths.tolist()])
    distinct = sorted(set(lengths.tolist()))
    if getattr(core.config, "feat_extract_norm", "layer") != "group" or len(distinct) == 1:
        return core.feature_extractor(wave[:, : int(lengths.max())]).transpose(1, 2), frames
    out = wave.new_zeros(len(wave), int(frames.max()), core.config.conv_dim[-1])
    for length in distinct:
        rows = (lengths == length).nonzero()[:, 0].to(wave.device)
        found = core.feature_extractor(wave[rows, :length]).transpose(1, 2)
        out = out.index_put((rows[:, None], torch.arange(found.shape[1], device=wave.device)), found.to(out.dtype))
    return out, frames


def family_of(name: str, network: str, model_type: str = "") -> Family:
    """Returns the table of a network that has this front-end and these blocks."""
    return Family(
        name=name,
        model_types=(model_type or name,),
        network=network,
        inside="",
        cores=(network,),
        blocks="encoder.layers",
        roles=ROLES,
        stem_roles=stem_roles,
        front=Normalise,
        convolve=features,
        channels=lambda config: config.conv_dim[-1],
        enter=enter,
        step=step,
        norm=norm,
        frames=frames_of,
        hop=hop,
        shortest=receptive_field,
        longest=unlimited,
        norms_first=stable,
        projection="feature_projection",
        ready=ready,
        unused=("masked_spec_embed",),
        padding=PADDING,
    )
