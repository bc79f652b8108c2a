"""wav2vec 2.0 with Conformer blocks (Wang et al., 2020, arXiv:2010.05171), with relative or rotary positions.

The library lets padded frames flow into real ones through a block's convolution; in the fold they are zero there,
as they are beyond the end of a clip alone. The batch norm keeps its stored statistics, in training mode too.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from torch import Tensor, nn

from pegbox.backbones import _conformer, _ready, _speech
from pegbox.backbones._family import Family, State, Undo


def enter(core: Any, found: Tensor, frames: Tensor) -> State:  # (batch, time, conv width), (batch,)
    """Returns the state after the front-end's projection, with the places of frames."""
    x, mask = _speech.projected(core, found, frames)
    return State(core.encoder.dropout(x), mask, _conformer.carry(core, x.shape[1]))


def norm(core: Any, x: Tensor) -> Tensor:  # (batch, time, width)
    """Returns the final layer norm, which stands behind every such encoder."""
    return core.encoder.layer_norm(x)  # type: ignore[no-any-return]


def ready(core: Any) -> Undo:
    """Does what its kin need, lets prompts have places, masks the convolutions and holds the batch norms still."""
    blocks = [step for block in core.encoder.layers for step in _masked(block)]
    return _ready.undo_all([_speech.ready(core), _conformer.places_for_prompts(core), *blocks, _ready.still(core)])


def _masked(block: Any) -> Iterator[Undo]:
    """Keeps padded frames out of the convolution where the fold says which they are; the library never does."""
    real: list[Tensor | None] = [None]

    def take(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        real[0] = kwargs.pop("conv_attention_mask", None)
        return args, kwargs

    def apply(_: nn.Module, args: tuple[Tensor]) -> Any:  # (batch, width, time)
        return None if real[0] is None else (args[0].masked_fill(~real[0].bool()[:, None], 0.0),)

    yield block.register_forward_pre_hook(take, with_kwargs=True).remove
    yield block.conv_module.depthwise_conv.register_forward_pre_hook(apply).remove


family: Final[Family] = replace(
    _speech.family_of("wav2vec2_conformer", "Wav2Vec2ConformerModel", "wav2vec2-conformer"),
    roles=_conformer.ROLES,
    enter=enter,
    carry=_conformer.carry,
    step=_conformer.step,
    norm=norm,
    norms_first=lambda config: True,
    ready=ready,
    unused=("masked_spec_embed", "encoder.pos_conv_embed.*", "*.num_batches_tracked", "adapter.*"),
    padding=_speech.PADDING + "; padded frames are zero in the blocks' convolutions",
)
