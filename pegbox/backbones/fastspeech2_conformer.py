"""FastSpeech 2 with Conformer blocks (Ren et al., 2020, arXiv:2006.04558; Guo et al., 2020, arXiv:2010.13956).

Text in, Mel frames out. A block's FFNs are pairs of convolutions; `up`, `down`, `norm2` and `ffn` are those of the
second one, whose output counts half.
"""

from typing import Any, Final

import torch
from torch import Tensor, nn

from pegbox.attention import attend, by_head, memory_edited
from pegbox.backbones import _conformer, _ready
from pegbox.backbones._family import Entry, Front, Stack, Undo, Weights
from pegbox.backbones._synthesis import Lessons, Spoken, Synthesis, Taught, Voice, like
from pegbox.errors import RecipeError, WeightsError
from pegbox.mel import Analysis


def attention(
    module: Any,
    hidden_states: Tensor,  # (batch, time, width)
    attention_mask: Tensor | None = None,  # (batch, 1, time), 1 on real frames
    pos_emb: Tensor | None = None,  # (1, 2 time - 1, width)
    output_attentions: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Returns (output, weights): as the library where the memory has no edit, else the same numbers without weights."""
    if pos_emb is None or not memory_edited(module):
        return type(module).forward(module, hidden_states, attention_mask, pos_emb, output_attentions)  # type: ignore[no-any-return]

    parts = (module.linear_q, module.linear_k, module.linear_v)
    query, key, value = (by_head(part(hidden_states), module.num_heads) for part in parts)
    scale = module.head_dim**-0.5
    far = by_head(module.linear_pos(pos_emb), module.num_heads)  # (1, heads, 2 time - 1, head width)
    places = (query + module.pos_bias_v[:, None]) @ far.transpose(-1, -2)
    bias = module.shift_relative_position_tensor(places) * scale  # (batch, heads, time, time)
    if attention_mask is not None:
        bias = bias.masked_fill(attention_mask[:, None] == 0, torch.finfo(bias.dtype).min)
    dropout = module.dropout.p if module.training else 0.0
    mixed = attend(module, query + module.pos_bias_u[:, None], key, value, bias, scale, dropout)
    return module.linear_out(mixed.flatten(2)), None


def ready(core: Any) -> Undo:
    """Puts the attention above into every block, lets its places follow prompts, and holds the batch norms still."""
    stacks = (core.encoder, core.decoder)
    modules = [block.self_attn for stack in stacks for block in stack.conformer_layers]
    return _ready.undo_all([_ready.instead(modules, attention), _ready.still(core), *map(_places_for_prompts, stacks)])


def _places_for_prompts(stack: Any) -> Undo:
    """Gives the attention a table as long as what it sees, prompts included."""

    def hook(_: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Any]) -> Any:
        if kwargs["pos_emb"].shape[1] == 2 * args[0].shape[1] - 1:
            return None
        return args, {**kwargs, "pos_emb": stack.pos_enc(args[0])[1]}

    modules = (block.self_attn for block in stack.conformer_layers)
    return _ready.undo_all(module.register_forward_pre_hook(hook, with_kwargs=True).remove for module in modules)


def norms_first(config: Any) -> bool:
    """Returns whether norms stand before the parts of a block, in both stacks."""
    if config.encoder_normalize_before != config.decoder_normalize_before:
        raise RecipeError(
            f"fastspeech2_conformer: norms before the parts in one stack and behind them in the other "
            f"(encoder_normalize_before={config.encoder_normalize_before}, "
            f"decoder_normalize_before={config.decoder_normalize_before}); Pegbox knows networks that agree"
        )
    return bool(config.encoder_normalize_before)


def loss(core: Any, taught: Taught) -> Tensor:
    """Returns the network's own loss: L1 of the Mel frames before and after the post-net, and squared errors of the
    logarithm of durations, of pitch and of energy. Dropout stays off: only the flags that choose this path are set."""
    told = taught.told
    core.training = core.duration_predictor.training = True
    try:
        found: Tensor = core(
            input_ids=taught.units,
            attention_mask=told.long(),
            spectrogram_labels=taught.mel.nan_to_num(-100.0),
            duration_labels=taught.frames,
            pitch_labels=taught.pitch,
            energy_labels=taught.energy,
            speaker_ids=torch.tensor([taught.voice] * len(told), device=told.device),
            return_dict=True,
        ).loss
    finally:
        core.training = core.duration_predictor.training = False
    return found


def speak(core: Any, units: Tensor, voice: Voice) -> Spoken:  # (units,)
    """Returns Mel frames and how many of them each unit has; one text at a time, without padding."""
    said = core(input_ids=units[None], speaker_ids=torch.tensor([voice], device=units.device), return_dict=True)
    return Spoken(said.spectrogram[0], said.duration_outputs[0])


def analysis(config: Any, front: Front, source: str) -> Analysis:
    """Returns how frames are cut, which the checkpoint's input settings say, as `recipes/voice` writes them."""
    if "hop" not in front.settings.get("analysis", {}):
        raise WeightsError(
            f"{source}: preprocessor_config.json does not say what the network's symbols and scales are; write them as "
            "recipes/voice does"
        )
    return Analysis(**front.settings["analysis"])


_ROLES: Final = like(
    _conformer.ROLES,
    {
        "enter": Entry(""),
        "up": Weights("feed_forward.conv1"),
        "down": Weights("feed_forward.conv2"),
        "ffn": "feed_forward",
        "norm2": "ff_layer_norm",
    },
)

family: Final = Synthesis(
    name="fastspeech2_conformer",
    network="FastSpeech2ConformerModel",
    checkpoints={
        "fastspeech2_conformer": "FastSpeech2ConformerModel",
        "fastspeech2_conformer_with_hifigan": "FastSpeech2ConformerWithHifiGan",
    },
    stacks=(
        Stack("encoder", "encoder.conformer_layers", _ROLES),
        Stack("decoder", "decoder.conformer_layers", _ROLES),
    ),
    norms_first=norms_first,
    ready=ready,
    lessons=Lessons(
        reads="times",
        learns=("mel", "frames", "pitch", "energy"),
        analysis=analysis,
        voices=lambda config: config.num_speakers or 1,
        loss=loss,
        speak=speak,
    ),
)
