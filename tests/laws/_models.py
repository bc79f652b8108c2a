"""Small random networks of the real families, clips, and what the laws share.

Families and methods are discovered from the folders. A new family needs one entry in `SMALL`, a new method
none: without an entry in `EXAMPLES` it is tested by its bare name.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
import torch
import transformers
from _copies import Original
from torch import Tensor, nn
from transformers import (
    ASTConfig,
    ASTFeatureExtractor,
    Data2VecAudioConfig,
    HubertConfig,
    SeamlessM4TFeatureExtractor,
    SEWConfig,
    UniSpeechConfig,
    UniSpeechSatConfig,
    Wav2Vec2BertConfig,
    Wav2Vec2Config,
    Wav2Vec2ConformerConfig,
    Wav2Vec2FeatureExtractor,
    WavLMConfig,
    WhisperConfig,
    WhisperFeatureExtractor,
)

import pegbox
from pegbox import registry
from pegbox.backbones import Backbone, Front, families
from pegbox.delta import Delta
from pegbox.errors import RecipeError

RATE = 16_000
DEPTH, WIDTH, INNER = 3, 32, 64
_SIZES: dict[str, Any] = {
    "hidden_size": WIDTH,
    "num_hidden_layers": DEPTH,
    "num_attention_heads": 4,
    "intermediate_size": INNER,
}
_HEADS: dict[str, Any] = {"vocab_size": 12, "num_labels": 5, "classifier_proj_size": 16, "apply_spec_augment": False}


@dataclass(frozen=True)
class Small:
    """One small network: its family, its configuration, and the library's own input features."""

    family: str
    config: Callable[[], Any]
    extractor: Callable[[], Any]
    padded_by_library: bool = False  # the library's padded forward is exact on real frames


def _speech(kind: Any, norm: str, stable: bool) -> Callable[[], Any]:
    return lambda: kind(
        **_SIZES,
        conv_dim=(16,) * 7,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
        feat_extract_norm=norm,
        conv_bias=norm == "layer",
        do_stable_layer_norm=stable,
        **_HEADS,
    )


def _whisper() -> Any:
    return WhisperConfig(
        d_model=WIDTH,
        encoder_layers=DEPTH,
        decoder_layers=1,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=INNER,
        decoder_ffn_dim=INNER,
        max_source_positions=150,
        num_mel_bins=20,
        vocab_size=50,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
        num_labels=5,
        classifier_proj_size=16,
        encoder_layerdrop=0.2,
    )


def _ast() -> Any:
    return ASTConfig(
        **_SIZES,
        max_length=128,
        num_labels=5,
    )


def _data2vec() -> Any:
    return Data2VecAudioConfig(
        **_SIZES,
        conv_dim=(16,) * 7,
        conv_pos_kernel_size=7,
        num_conv_pos_embeddings=3,
        num_conv_pos_embedding_groups=4,
        **_HEADS,
    )


def _w2v_bert(positions: str | None) -> Callable[[], Any]:
    return lambda: Wav2Vec2BertConfig(
        **_SIZES,
        feature_projection_input_dim=40,
        position_embeddings_type=positions,
        left_max_position_embeddings=6,
        right_max_position_embeddings=2,
        max_source_positions=12,
        conv_depthwise_kernel_size=7,
        **_HEADS,
    )


def _conformer(norm: str, positions: str | None) -> Callable[[], Any]:
    return lambda: Wav2Vec2ConformerConfig(
        **_SIZES,
        conv_dim=(16,) * 7,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
        feat_extract_norm=norm,
        conv_bias=norm == "layer",
        position_embeddings_type=positions,
        max_source_positions=12,
        conv_depthwise_kernel_size=7,
        **_HEADS,
    )


def _sew() -> Any:
    return SEWConfig(
        **_SIZES,
        conv_dim=(16,) * 8,
        conv_kernel=(10, 3, 1, 3, 3, 3, 2, 2),
        conv_stride=(5, 2, 1, 2, 2, 2, 2, 2),
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
        **_HEADS,
    )


def _rows() -> Any:
    return SeamlessM4TFeatureExtractor(feature_size=20, num_mel_bins=20, padding_value=1)


def _waves() -> Any:
    return Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True)


_KINDS = {
    "wav2vec2": Wav2Vec2Config,
    "hubert": HubertConfig,
    "wavlm": WavLMConfig,
    "unispeech": UniSpeechConfig,
    "unispeech_sat": UniSpeechSatConfig,
}
# The first form is that of the encoder that comes with Pegbox.
_FORMS = {
    "group-pre": ("group", True),
    "group-post": ("group", False),
    "layer-pre": ("layer", True),
    "layer-post": ("layer", False),
}
_TWO_FORMS = ("group-post", "layer-pre")  # of networks that are wav2vec 2.0's but for their training
SMALL: dict[str, Small] = {
    f"{family}-{form}": Small(
        family,
        _speech(kind, norm, stable),
        _waves,
        norm == "layer",
    )
    for family, kind in _KINDS.items()
    for form, (norm, stable) in _FORMS.items()
    if form in (_FORMS if family == "hubert" else _TWO_FORMS if "unispeech" in family else list(_FORMS)[1:])
} | {
    "whisper": Small("whisper", _whisper, lambda: WhisperFeatureExtractor(feature_size=20, chunk_length=3)),
    "data2vec": Small("data2vec", _data2vec, _waves),
    "w2v_bert-relative": Small("w2v_bert", _w2v_bert("relative"), _rows, True),
    "w2v_bert-rotary": Small("w2v_bert", _w2v_bert("rotary"), _rows, True),
    "w2v_bert": Small("w2v_bert", _w2v_bert("relative_key"), _rows, True),
    "wav2vec2_conformer-rotary": Small("wav2vec2_conformer", _conformer("group", "rotary"), _waves),
    "wav2vec2_conformer-relative": Small("wav2vec2_conformer", _conformer("layer", "relative"), _waves),
    "sew": Small("sew", _sew, _waves),
    "ast": Small("ast", _ast, lambda: ASTFeatureExtractor(max_length=128), True),
}
VARIANTS = tuple(SMALL)
SPEECH = tuple(name for name, small in SMALL.items() if small.family not in ("whisper", "ast"))
# The other forms of a family are the same edits under another norm: a few methods of each kind show it.
EVERYWHERE = ("bitfit", "bottleneck", "conv_adapter", "deep_prompt", "full", "lora", "prefix")
ONE_EACH = tuple({small.family: name for name, small in SMALL.items()}.values())  # the last form of each family

LINEAR = '["q", "k", "v", "o", "up", "down"]'
EXAMPLES: dict[str, tuple[str, ...]] = {
    "front_conv_adapter": ("front_conv_adapter(size=4)", 'front_conv_adapter(size=2, start="paper")'),
    "input_prompt": ("input_prompt", 'input_prompt(border=3, start="zeros")'),
    "p_adapter": ("p_adapter(length=3)",),
    "embedding_prompt": ("embedding_prompt(length=2)",),
    "ipet": ("ipet(prompts=2, size=4)", 'ipet(prompts=1, size=3, residual="again", start="drawn", dropout=0)'),
    "reprogramming": ("reprogramming(length=900)",),
    "peft": ("peft", f'peft(type="vera", at={LINEAR}, options={{"r": 4}})'),
    "downsample": ("downsample", 'downsample(factor=3, kind="first")', "downsample + lora(rank=2)"),
    "unipelt": ("unipelt(rank=2, length=2, size=4)",),
    "mam": ("mam(length=2, size=4)",),
    "prefix": ("prefix(length=3)", "prefix(length=2, projection=4, deviation=1, dropout=0.2)"),
    "deep_prompt": ("deep_prompt(length=3)", 'deep_prompt(length=2, start="ones")'),
    "shallow_prompt": ("shallow_prompt(length=3)",),
    "conv_adapter": (
        "conv_adapter(squeeze=4)",
        'conv_adapter(squeeze=4, reduction=4, at=["attn"], start="paper")',
    ),
    "conformer_adapter": ("conformer_adapter(size=4, kernel=7)", 'conformer_adapter(size=2, start="paper")'),
    "lora": (
        "lora(rank=2)",
        f"lora(rank=3, alpha=5, at={LINEAR})",
        f"lora(rank=3, dora=True, rslora=True, up_rate=4, at={LINEAR})",
        'lora(rank=2, at=["conv", "q"])',
        'lora(rank=2, dora=True, at=["conv"])',
    ),
    "lora_fa": (f"lora_fa(rank=2, at={LINEAR})",),
    "vera": ("vera", f"vera(rank=5, at={LINEAR}, first=0.5)"),
    "hydra": ("hydra(rank=2)", 'hydra(rank=3, at=["q", "up"], scale=2)'),
    "houlsby": ("houlsby(size=4)", 'houlsby(size=4, at=["attn", "ffn"])'),
    "pfeiffer": ("pfeiffer(size=4)",),
    "parallel": ("parallel", "parallel(size=4, scale=0.5, learned_scale=True)"),
    "adapter_plus": ("adapter_plus(size=4)",),
    "mms_adapter": ("mms_adapter(size=4)",),
    "e_adapter": ("e_adapter(size=4)",),
    "adapter_bias": ("adapter_bias", 'adapter_bias(start="ones")'),
    "child": (
        'child(keep=0.05, choose="magnitude")',
        'child(keep=0.2, choose="magnitude", scope="tensor", at=["q", "up", "norm2"])',
    ),
    "moa": ("moa(experts=3, size=2, slots=2)", 'moa(experts=2, size=3, route="dense", at=["attn", "ffn"], scale=2)'),
    "compacter": ("compacter(n=4)", 'compacter(size=6, n=2, at=["ffn"])'),
    "bitfit": ("bitfit", "bitfit(outside=True)"),
    "layernorm": ("layernorm", "layernorm(outside=True)"),
    "ia3": ("ia3", f"ia3(at={LINEAR})"),
    "top_blocks": ("top_blocks(count=2)",),
    "loreft": ("loreft(rank=2)", 'loreft(positions="first", count=2)', 'loreft(rank=3, positions="last")'),
    "bottleneck": (
        "bottleneck(size=4)",
        'bottleneck(size=4, at=["attn", "ffn"], form="parallel", norm=True, activation="relu", scale=2)',
        'bottleneck(size=4, at=["q", "up", "enter", "leave", "norm1"])',
        'bottleneck(reduction=8, at=["leave"], activation="relu", start="paper")',
    ),
}
UNIONS = ("lora(rank=2) + bitfit", "lora(rank=2) + ia3", 'lora(rank=2) + lora(rank=3, at=["up"])')
NOT_IDENTITY = frozenset(  # methods that do not promise to change nothing at the start
    {
        *("deep_prompt", "downsample", "embedding_prompt", "ipet", "mam", "prefix", "shallow_prompt", "unipelt"),
        *("houlsby", "e_adapter", "compacter"),  # near it only: their papers draw the last map too
        *("input_prompt", "p_adapter", "elp", "unipet_spk"),
        "loreft",  # its target is drawn, as in the paper
    }
)


SEARCHES = ("ad_tuning", "auto")  # they stand for others, which compete


def method_names() -> tuple[str, ...]:
    """Returns every method of the folder that can be attached, in order."""
    return tuple(name for name in registry.names("methods") if name not in SEARCHES)


def product() -> list[tuple[str, str]]:
    """Returns every (variant, spec) of the laws: all methods on one form of each family, some on the others."""
    whole = {*ONE_EACH, "hubert-group-pre"}
    return [
        (variant, spec)
        for variant in VARIANTS
        for spec in specs()
        if variant in whole or spec.partition("(")[0].partition(" ")[0] in EVERYWHERE
    ]


def specs() -> tuple[str, ...]:
    """Returns the example specs of every method, and unions."""
    return tuple(spec for name in method_names() for spec in EXAMPLES.get(name, (name,))) + UNIONS


@cache
def _network(variant: str) -> Original:
    small = SMALL[variant]
    torch.manual_seed(7)
    model = getattr(transformers, families()[small.family].network)(small.config()).eval()
    perturb(model)
    return Original(model)


@cache
def _extractor(variant: str) -> Any:
    with warnings.catch_warnings():  # the lowest of AST's 128 filters is empty, as it was in pretraining
        warnings.filterwarnings("ignore", "At least one mel filter", UserWarning)
        return SMALL[variant].extractor()


@torch.no_grad()
def perturb(model: nn.Module) -> None:
    """Moves every number, so that no norm, bias or table is trivial."""
    for tensor in model.parameters():
        tensor.add_(torch.randn_like(tensor) * 0.1)
    for name, tensor in model.named_buffers():
        if "running" in name:  # the statistics of a batch norm
            tensor.add_(torch.rand_like(tensor))


def network(variant: str) -> Any:
    """Returns a fresh copy of the library's model, whose backbone is at `family.inside`."""
    return _network(variant).copy()


def library_core(variant: str) -> Any:
    """Returns a fresh copy of the library's encoder alone."""
    return network(variant).get_submodule(families()[SMALL[variant].family].inside)


def front(variant: str) -> Front:
    """Returns the input settings as `load` reads them from a saved extractor."""
    return Front(RATE, _extractor(variant).to_dict())


def backbone(variant: str, precision: Any = "fp32") -> Backbone:
    """Returns a fresh backbone with the same weights at every call."""
    return Backbone(families()[SMALL[variant].family], library_core(variant), front(variant), variant, precision)


def clip(samples: int, seed: int = 1) -> Tensor:  # (samples,)
    """Returns reproducible noise with a slow envelope and an offset."""
    noise = torch.randn(samples, generator=torch.Generator().manual_seed(seed))
    return 0.1 * noise * (1 + torch.sin(torch.arange(samples) / 900)) + 0.02


def batch(*lengths: int) -> tuple[Tensor, Tensor]:  # → (batch, samples), (batch,)
    """Returns clips of these lengths with noise, not zeros, beyond their ends."""
    wave = torch.full((len(lengths), max(lengths) + 77), 0.3).cumsum(1).sin()
    for row, samples in enumerate(lengths):
        wave[row, :samples] = clip(samples, seed=samples)
    return wave, torch.tensor(lengths)


def trained_inside(tensor: Tensor) -> bool:
    """Returns whether entries of this tensor are trained in place."""
    return bool(getattr(tensor, "_pegbox_entries", False))


def alone(samples: int) -> tuple[Tensor, Tensor]:
    """Returns the same clip as in `batch`, unpadded."""
    return clip(samples, seed=samples)[None], torch.tensor([samples])


def features(variant: str, *clips: Tensor) -> Any:
    """Returns what the library's own extractor makes of clips."""
    extractor = _extractor(variant)
    padding = {"padding": True} if variant in SPEECH else {}
    return extractor([each.numpy() for each in clips], sampling_rate=RATE, return_tensors="pt", **padding)


def fed(prepared: Any) -> Tensor:
    """Returns the input of a network, whatever its extractor calls it."""
    return next(prepared[name] for name in ("input_values", "input_features") if name in prepared)


def library_states(core: Any, *inputs: Tensor, **more: Any) -> list[Tensor]:
    """Returns the library's hidden states, the last one after the final norm."""
    out = core(*inputs, output_hidden_states=True, **more)
    if core.config.model_type == "sew":  # it ends at another rate
        return list(out.hidden_states)
    return [*out.hidden_states[:-1], out.last_hidden_state]


def attach_or_skip(model: nn.Module, spec: str) -> Delta:
    """Attaches; a network without the sites of a method is no failure of either."""
    with skipping():
        return pegbox.attach(model, spec)


@contextmanager
def skipping() -> Iterator[None]:
    """Skips where a method has no place on a network."""
    try:
        yield
    except RecipeError as refusal:
        reasons = ("has no site", "between the network and a head", "peft: the library is not installed")
        if not any(reason in str(refusal) for reason in reasons):
            raise
        pytest.skip(str(refusal))


def toy_loss(states: list[Tensor]) -> Tensor:
    """Returns a loss that every hidden state enters, with no symmetry a layer norm could hide."""
    generator = torch.Generator().manual_seed(3)
    return sum(((x * torch.randn(x.shape, generator=generator)).mean() for x in states), torch.zeros(()))


def snapshot(model: nn.Module) -> dict[str, Tensor]:
    """Returns a copy of every tensor."""
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def same(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    """Returns whether names and all bits agree."""
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def hooks(model: nn.Module) -> int:
    """Returns how many hooks and parametrizations hang on a model."""
    counted = sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())
    return counted + sum(type(m).__name__.startswith("Parametrized") for m in model.modules())


def differs(left: list[Tensor], right: list[Tensor]) -> bool:
    """Returns whether the last hidden states differ at all."""
    return not torch.equal(left[-1], right[-1])
