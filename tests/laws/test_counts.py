"""Published counts of trained numbers, on networks of the published shapes without weights."""

from functools import cache

import pytest
import transformers

from pegbox import methods
from pegbox.backbones import Front, families, from_config
from pegbox.delta import Delta

LINEAR = '["q", "k", "v", "o", "up", "down"]'
LARGE = {
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "feat_extract_norm": "layer",
    "conv_bias": True,
    "do_stable_layer_norm": True,
}

MMS = {"hidden_size": 1280, "num_hidden_layers": 48, "intermediate_size": 5120}
NETWORKS = {  # family, configuration, and the published count, where there is one
    "base": ("hubert", transformers.HubertConfig(), 94_371_712),
    "large": ("wav2vec2", transformers.Wav2Vec2Config(**LARGE), 315_438_720),
    "hubert-large": ("hubert", transformers.HubertConfig(**LARGE), 315_438_720),
    "wavlm-large": ("wavlm", transformers.WavLMConfig(**LARGE | {"conv_bias": False}), 315_453_120),
    "wavlm": ("wavlm", transformers.WavLMConfig(), 94_381_936),
    "wav2vec2": ("wav2vec2", transformers.Wav2Vec2Config(), 94_371_712),
    "mms-1b": ("wav2vec2", transformers.Wav2Vec2Config(**LARGE | MMS), None),
    "ast": ("ast", transformers.ASTConfig(), 86_187_264),
    "ast-512": ("ast", transformers.ASTConfig(max_length=512), 85_717_248),
}


@cache
def network(name):
    """Returns a network of a published shape on the meta device; no number is ever drawn."""
    family, config, _ = NETWORKS[name]
    return from_config(config, Front(16_000), device="meta", family=families()[family])


def count(name, spec):
    model = network(name)
    delta = Delta(model.core, methods.plan(methods.parse(spec), model.sites()), model.family.unused)
    trained = sum(tensor.numel() for tensor in delta.parameters())
    delta.detach()
    return trained


@pytest.mark.parametrize(
    ("name", "spec", "published"),
    [
        # LoRA (arXiv:2106.09685) as in SURE (arXiv:2303.03267): six matrices
        ("base", f"lora(rank=8, alpha=1, at={LINEAR})", 1_327_104),
        ("large", f"lora(rank=8, alpha=1, at={LINEAR})", 3_538_944),
        # the efficient-tuning study (arXiv:2210.06175), CHAPTER (arXiv:2212.01282)
        ("base", 'lora(rank=8, alpha=1, at=["q", "k"])', 294_912),
        ("base", "chapter", 4_200_448),
        ("base", "chapter + houlsby", 4_799_872),
        # the peft library's counts on the same matrices
        ("base", 'lora(rank=8, at=["conv"])', 94_288),
        ("base", "lora(rank=8, dora=True)", 313_344),
        ("base", "vera", 24_576),
        # Hydra (arXiv:2309.06922), after its public code
        ("base", "hydra(rank=8)", 848_256),
        ("base", "hydra(rank=2)", 239_712),
        # the front-end adapter of SURE, on large networks
        ("large", "front_conv_adapter", 361_520),
        ("hubert-large", "front_conv_adapter", 361_520),
        ("wavlm-large", "front_conv_adapter", 361_520),
        # the input prompt of IPET: 2 · 10 · (512 + 128 - 20)
        ("ast-512", "input_prompt", 12_400),
        # E and L adapters (arXiv:2212.02780): 9,127,436 with the weights of twelve layers; the P-adapter adds 10 · 512
        ("wavlm", "e_adapter + l_adapter + layernorm", 9_127_436 - 12),
        ("wavlm", "l_adapter", 12 * 394_752),
        ("wavlm", "elp + layernorm", 9_127_424 + 5_120),
        ("base", "p_adapter(length=4)", 4 * 512),
        # inner and inter-layer adapters (arXiv:2403.00293): some 5 % of the 94,371,712
        ("base", "inner_inter", 25 * (2 * 768 * 128 + 128 + 768)),
        # a language of MMS (arXiv:2305.13516)
        ("mms-1b", "mms_adapter", 2_151_168),
        # options that change no count, and one that halves it
        ("base", "lora(rank=8, rslora=True, up_rate=16)", 294_912),
        ("base", "lora_fa(rank=8)", 147_456),
    ],
)
def test_published_counts(name, spec, published):
    assert count(name, spec) == published


@pytest.mark.parametrize(
    ("name", "prompts", "size", "published"),
    [  # IPET (arXiv:2211.02227) as its code ships it, without heads; the ten of five corpora and two networks
        pytest.param("ast", 4, 32, 636_288, id="ESC-50 on AST"),
        pytest.param("wav2vec2", 128, 128, 3_549_696, id="ESC-50 on wav2vec 2.0"),
        pytest.param("ast", 32, 32, 894_336, id="FSD50K on AST"),
        pytest.param("wav2vec2", 128, 64, 2_369_280, id="FSD50K on wav2vec 2.0"),
        pytest.param("ast", 8, 64, 1_263_360, id="GTZAN on AST"),
        pytest.param("wav2vec2", 128, 64, 2_369_280, id="GTZAN on wav2vec 2.0"),
        pytest.param("ast", 4, 128, 2_406_912, id="Speech Commands on AST"),
        pytest.param("wav2vec2", 64, 64, 1_779_456, id="Speech Commands on wav2vec 2.0"),
        pytest.param("ast", 4, 64, 1_226_496, id="VoxCeleb1 on AST"),
        pytest.param("wav2vec2", 64, 128, 2_959_872, id="VoxCeleb1 on wav2vec 2.0"),
    ],
)
def test_counts_of_ipet(name, prompts, size, published):
    assert count(name, f"ipet(prompts={prompts}, size={size})") == published
    alone = count(name, f"embedding_prompt(length={prompts})")
    assert alone == 12 * 768 * prompts and published - alone == 12 * (1537 * size + 768)


@pytest.mark.parametrize(
    ("spec", "published"),
    [  # the peers on AST of arXiv:2312.03694, without head and final norm; adapters come with the norm beside them
        ("bitfit + bitfit(at=['conv'])", 102_144),
        ("shallow_prompt(length=300)", 230_400),
        ("deep_prompt(length=25)", 230_400),
        ("prefix(length=12)", 221_184),  # 24 vectors a block: 12 keys, 12 values
        ("lora(rank=6)", 221_184),
        ("bottleneck(size=12) + layernorm(at=['norm2'])", 248_976),
        ("bottleneck(size=12, at=['attn', 'ffn']) + layernorm", 497_952),
        ("conformer_adapter + layernorm(at=['norm2'])", 270_720),
        ("conformer_adapter(at=['attn', 'ffn']) + layernorm", 541_440),
        ("moa + layernorm(at=['norm2'])", 922_104),  # arXiv:2402.00828
        ("moa(route='dense') + layernorm(at=['norm2'])", 922_188),
    ],
)
def test_counts_of_peers_on_ast(spec, published):
    assert count("ast", spec) == published


@pytest.mark.parametrize("name", [name for name, (*_, size) in NETWORKS.items() if size])
def test_the_networks_are_of_the_published_size(name):
    assert sum(tensor.numel() for tensor in network(name).core.parameters()) == NETWORKS[name][2]
