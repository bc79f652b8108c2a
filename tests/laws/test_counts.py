"""Published counts of trained numbers, on networks of the published shapes without weights."""

from functools import cache

import pytest
import torch
import transformers
from typer.testing import CliRunner

from pegbox import methods, tasks
from pegbox.backbones import Front, families, from_config
from pegbox.cli import app
from pegbox.delta import Delta
from pegbox.training.plans import parts

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
        ("base", "deep_prompt(length=10) + shallow_prompt(length=10)", 99_840),
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


@pytest.mark.parametrize(
    ("name", "pool", "tensors"), [("hubert-large", 302_312_448, 388), ("wavlm-large", 302_330_432, 461)]
)
def test_pools_of_large_child_networks(name, pool, tensors):
    """AD-TUNING (doi:10.21437/Interspeech.2023-1167)."""
    held = [getattr(site.owner, tensor) for site, tensor in network(name).sites().pool()]
    assert (sum(each.numel() for each in held), len(held)) == (pool, tensors)
    assert count(name, "child(keep=0.001)") == round(0.001 * pool)


def with_head(name, spec, task, outputs):
    """Returns what a method trains, and the head of a task with so many outputs."""
    with torch.device("meta"):
        head = tasks.build(task).head(network(name).width, tuple(map(str, range(outputs))))
    return count(name, spec) + sum(tensor.numel() for tensor in head.parameters())


@pytest.mark.parametrize(
    ("spec", "emotions", "letters", "keywords"),
    [  # SURE (arXiv:2303.03267) on wav2vec 2.0 large: 5 classes, 30 letters, 11 classes
        ("conv_adapter", 3_667_461, 3_434_526, 3_669_003),
        ('bottleneck(size=512, at=["leave"], activation="relu")', 25_466_373, 25_233_438, 25_467_915),
        ("prefix", 1_738_245, 1_505_310, 1_739_787),
        (f"lora(rank=8, alpha=1, at={LINEAR})", 3_802_629, 3_569_694, 3_804_171),
        ("full", 315_702_405, None, 315_703_947),
    ],
)
def test_totals_of_sure(spec, emotions, letters, keywords):
    masks = 1024 if spec == "full" else 0  # the vector for masked frames, which nothing reads
    classes = 'classify(label="x")'
    assert with_head("large", spec, classes, 5) == emotions - masks
    assert with_head("large", spec, classes, 11) == keywords - masks
    if letters:  # full tuning leaves the front-end frozen there
        assert with_head("large", spec, "ctc", 30) == letters


@pytest.mark.parametrize(
    ("name", "prompts", "size", "task", "outputs", "published"),
    [  # IPET (arXiv:2211.02227) on all five corpora
        ("ast", 4, 32, "classify", 50, 676_274),
        ("wav2vec2", 128, 128, "classify", 50, 3_629_618),
        ("ast", 32, 32, "tag", 200, 1_049_672),
        ("wav2vec2", 128, 64, "tag", 200, 2_679_752),
        ("ast", 8, 64, "classify", 10, 1_272_586),
        ("wav2vec2", 128, 64, "classify", 10, 2_387_722),
        ("ast", 4, 128, "classify", 35, 2_435_363),
        ("wav2vec2", 64, 64, "classify", 35, 1_836_323),
        ("ast", 4, 64, "verify", 1211, 1_481_403),
        ("wav2vec2", 64, 128, "verify", 1211, 3_313_083),
    ],
)
def test_totals_of_ipet(name, prompts, size, task, outputs, published):
    pooling = "tokens" if name == "ast" else "deviation"
    network = 'network="pooled", objective="ce", size=128' if task == "verify" else 'network="normed"'
    head = f'{task}(label="x", pooling="{pooling}", {network})'
    assert with_head(name, f"ipet(prompts={prompts}, size={size})", head, outputs) == published


def test_layer_weights_are_told_apart(tmp_path):
    transformers.HubertConfig().save_pretrained(tmp_path)
    found = {
        spec: parts(str(tmp_path), spec)
        for spec in ("weighted_sum", "weighted_sum + l_adapter", "linear_probe", "lora")
    }
    assert {spec: (each.total, each.layers) for spec, each in found.items()} == {
        "weighted_sum": (0, 13),
        "weighted_sum + l_adapter": (12 * 394_752, 12),
        "linear_probe": (0, 0),
        "lora": (294_912, 0),
    }
    printed = CliRunner().invoke(app, ["params", str(tmp_path), "weighted_sum"]).output
    assert "│ layer weights │ outside the backbone │       │ 13         │" in printed
