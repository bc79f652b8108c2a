"""Published counts of trained numbers, on networks of the published shapes without weights."""

import pytest
import transformers

import pegbox
from pegbox.backbones import Front, families, from_config

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


@pytest.fixture(scope="module")
def networks():
    """HuBERT-base and the large wav2vec 2.0 on the meta device; no number is ever drawn."""
    base, large = transformers.HubertConfig(), transformers.Wav2Vec2Config(**LARGE)
    return {
        "base": from_config(base, Front(16_000), device="meta", family=families()["hubert"]),
        "large": from_config(large, Front(16_000), device="meta", family=families()["wav2vec2"]),
    }


def count(model, spec):
    delta = pegbox.attach(model, spec)
    trained = sum(tensor.numel() for tensor in delta.parameters())
    delta.detach()
    return trained


@pytest.mark.parametrize(
    ("size", "spec", "published"),
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
        # options that change no count, and one that halves it
        ("base", "lora(rank=8, rslora=True, up_rate=16)", 294_912),
        ("base", "lora_fa(rank=8)", 147_456),
    ],
)
def test_published_counts(networks, size, spec, published):
    assert count(networks[size], spec) == published


def test_the_networks_are_of_the_published_size(networks):
    sizes = {name: sum(t.numel() for t in model.core.parameters()) for name, model in networks.items()}
    assert sizes == {"base": 94_371_712, "large": 315_438_720}
