"""SpeechT5 (Ao et al., 2021, arXiv:2110.07205) as it makes speech of text, Mel frame after Mel frame.

The attention to the text inside the decoder's blocks has no sites. The dropout of the net before the decoder belongs to
the network: it drops when it speaks, too.
"""

import math
from collections.abc import Mapping
from typing import Any, Final

from torch import Tensor, nn
from transformers import EncoderDecoderCache

from pegbox.attention import attend, by_head, memory_edited
from pegbox.backbones import _ready, _speech
from pegbox.backbones._family import Entry, Front, Memory, Stack, Undo, Where
from pegbox.backbones._synthesis import Lessons, Spoken, Synthesis, Taught, Voice, like
from pegbox.errors import WeightsError
from pegbox.mel import Analysis

_PADDED: Final = -100.0  # what the library takes for frames that are none
_FRAMES: Final = 20  # the most that it speaks for a unit


def attention(
    module: Any,
    hidden_states: Tensor,  # (batch, time, width)
    key_value_states: Tensor | None = None,
    past_key_values: Any = None,
    attention_mask: Tensor | None = None,  # (batch, 1, time, past and present time), added
    position_bias: Tensor | None = None,  # (time, time, head width), in the encoder
    output_attentions: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Returns (output, weights): as the library where the memory has no edit, else the same numbers without weights.

    Edits see all keys spoken so far: a prefix stays in front of them, and never enters the library's cache.
    """
    if not memory_edited(module):
        return type(module).forward(  # type: ignore[no-any-return]
            module, hidden_states, key_value_states, past_key_values, attention_mask, position_bias, output_attentions
        )
    parts = (module.q_proj, module.k_proj, module.v_proj)
    query, key, value = (by_head(part(hidden_states), module.num_heads) for part in parts)
    if past_key_values is not None:
        both = isinstance(past_key_values, EncoderDecoderCache)
        spoken = past_key_values.self_attention_cache if both else past_key_values
        key, value = spoken.update(key, value, module.layer_idx)
    mask = attention_mask
    if position_bias is not None:
        places = ((query * module.scaling)[..., None, :] @ position_bias.transpose(-1, -2)).squeeze(-2)
        mask = places if mask is None else places + mask
    dropout = module.dropout if module.training else 0.0
    mixed = attend(module, query, key, value, mask, module.scaling, dropout)
    return module.out_proj(mixed.flatten(2)), None


def ready(core: Any) -> Undo:
    """Puts the attention above into every block, stops LayerDrop, holds the batch norms behind the decoder still."""
    encoder, decoder = core.speecht5.encoder.wrapped_encoder, core.speecht5.decoder.wrapped_decoder
    modules = [*(block.attention for block in encoder.layers), *(block.self_attn for block in decoder.layers)]
    stacks = map(_ready.no_layerdrop, (encoder, decoder))
    places = _places_for_prompts(encoder)
    return _ready.undo_all([*stacks, _ready.instead(modules, attention), _ready.still(core), places])


def _places_for_prompts(encoder: Any) -> Undo:
    """Gives the attention embeddings of the distances between all that it sees, prompts included.

    What a block with other frames inside makes of those for its outer frames is none: distances stand in the first two
    dimensions here.
    """

    def hook(_: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Any]) -> Any:
        x = kwargs["hidden_states"]
        if len(kwargs["position_bias"]) == x.shape[1]:
            return None
        return args, {**kwargs, "position_bias": encoder.embed_positions(x)}

    modules = (block.attention for block in encoder.layers)
    return _ready.undo_all(module.register_forward_pre_hook(hook, with_kwargs=True).remove for module in modules)


def loss(core: Any, taught: Taught) -> Tensor:
    """Returns the network's own loss: L1 of the Mel frames before and after the post-net, cross-entropy of the stop,
    and guided attention where the configuration says so. A last frame that fills no step of the decoder is left out."""
    found: Tensor = _told(core, taught).loss
    return found


def draft(core: Any, taught: Taught) -> Tensor:
    """Returns the Mel frames that it makes of one clip when told the recording's own before each."""
    made: Tensor = _told(core, taught).spectrogram[0]
    return made


def speak(core: Any, units: Tensor, voice: Voice) -> Spoken:  # (units,)
    """Returns the Mel frames of one text, step by step until the network stops, or it has said 20 frames a unit."""
    assert isinstance(voice, Tensor)
    most = min(_FRAMES, longest(core.config)[1] / len(units))
    told = {"attention_mask": units.new_ones(1, len(units)), "speaker_embeddings": voice[None].to(units.device)}
    made: Tensor = core.generate_speech(units[None], maxlenratio=most, **told)
    return Spoken(made)


def _told(core: Any, taught: Taught) -> Any:
    assert isinstance(taught.voice, Tensor)
    units, told, step = taught.units, taught.told, core.config.reduction_factor
    mel = taught.mel
    real = ~mel.isnan().any(2)  # (batch, time)
    kept = real.sum(1) // step * step
    mel = mel.nan_to_num(_PADDED)[:, : int(kept.max())].clone()
    for clip, count in zip(mel, kept.tolist(), strict=True):
        clip[count:] = _PADDED
    return core(
        input_ids=units.masked_fill(~told, core.config.pad_token_id),
        attention_mask=told.long(),
        labels=mel,
        speaker_embeddings=taught.voice.to(mel).expand(len(mel), -1),
        return_dict=True,
    )


def analysis(config: Any, front: Front, source: str) -> Analysis:
    """Returns how frames are cut: as `SpeechT5FeatureExtractor` does, by its settings or the usual ones."""
    told = {"hop_length": 16, "win_length": 64, "fmin": 80, "fmax": 7600, "mel_floor": 1e-10} | dict(front.settings)
    window, hop = (told[name] * front.rate // 1000 for name in ("win_length", "hop_length"))
    if window & (window - 1):
        raise WeightsError(f"{source}: windows of {window} samples; Pegbox knows those that are a power of two")
    band = {"lowest": float(told["fmin"]), "highest": float(told["fmax"])}
    return Analysis(front.rate, window, hop, config.num_mel_bins, told["mel_floor"], mirrored=True, **band)


def longest(config: Any) -> tuple[float, float]:
    """Returns the most units and Mel frames for which the network has places."""
    return config.max_text_positions, config.max_speech_positions * config.reduction_factor


_LINEAR: Final = (("q", "q_proj"), ("k", "k_proj"), ("v", "v_proj"), ("o", "out_proj"))
_SPEAKING: Final[Mapping[str, Where]] = {
    **{role: f"self_attn.{name}" for role, name in _LINEAR},
    "memory": Memory("self_attn"),
    "attn": "self_attn",
    "norm1": "self_attn_layer_norm",
}

family: Final = Synthesis(
    name="speecht5",
    network="SpeechT5ForTextToSpeech",
    checkpoints={"speecht5": "SpeechT5ForTextToSpeech"},
    stacks=(
        Stack("encoder", "speecht5.encoder.wrapped_encoder.layers", like(_speech.ROLES, {"enter": Entry("")})),
        Stack("decoder", "speecht5.decoder.wrapped_decoder.layers", like(_speech.ROLES, _SPEAKING), causal=True),
    ),
    norms_first=lambda config: False,
    ready=ready,
    lessons=Lessons(
        reads="text",
        learns=("mel",),
        analysis=analysis,
        voices=lambda config: 1,
        loss=loss,
        speak=speak,
        draft=draft,
        embedding=lambda config: int(config.speaker_embedding_dim),
        longest=longest,
        scale=math.log(10),
    ),
)
