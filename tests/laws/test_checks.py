"""Options that cannot be meant are refused when a recipe is checked: there is a configuration, and no weight yet."""

from dataclasses import replace

import pytest
from _models import EXAMPLES, LINEAR, SMALL, alone, backbone, method_names, skipping, toy_loss

import pegbox
from pegbox import methods, registry
from pegbox.errors import RecipeError
from pegbox.training.plans import parts

WRONG = [
    # longer than the longest clip, where a positional table ends
    ("whisper", "deep_prompt(length=151)", "deep_prompt: 151 prompts or keys; at most 150, as many as whisper has"),
    ("whisper", "prefix(length=151)", "prefix: 151 .* at most 150"),
    ("whisper", "mam(length=151, size=4)", "mam: 151 .* at most 150"),
    ("whisper", "unipelt(length=151)", "unipelt: 151 .* at most 150"),
    ("ast", "shallow_prompt(length=147)", "shallow_prompt: 147 .* at most 146, as many as ast has"),
    ("ast", "ipet(prompts=147)", "ipet: 147 .* at most 146"),
    ("ast", "embedding_prompt(length=147)", "at most 146"),
    ("ast", "input_prompt(border=64)", r"border=64\): from 1 to 63 around \(128, 128\)"),
    # a place that a network lacks
    ("whisper", "p_adapter", "whisper has no site between a front-end's features and its frames"),
    ("sew", "p_adapter", "sew has no site between a front-end's features and its frames"),
    ("whisper", "input_prompt", "whisper has no site with a spectrogram of fixed size"),
    ("ast", "front_conv_adapter", "ast has no site that is a convolution over time"),
    ("ast", "chapter", "ast has no site"),
    ("w2v_bert", "front_conv_adapter", "w2v_bert has no site 'conv'"),
    # wider than the network
    ("whisper", "lora(rank=33)", "rank goes from 1 to 32"),
    ("whisper", f"lora_fa(rank=33, at={LINEAR})", "rank goes from 1 to 32"),
    ("ast", "inter_adapter(size=33)", "a bottleneck of size 33 on hidden states; from 1 to the width 32"),
    ("ast", "inner_inter(inner=33)", r"inner_inter\(inner=33\).*from 1 to 32"),
    ("ast", "unipet_spk(inner=33)", r"unipet_spk\(inner=33\).*from 1 to 32"),
    ("ast", "unipet_spk(inner=4, inter=33)", "unipet_spk: a bottleneck of size 33"),
    ("hubert-layer-pre", "front_conv_adapter(size=17)", "size goes from 1 to 16"),
    # what does not divide
    ("ast", "conv_adapter(reduction=5)", "does not divide the width 32"),
    ("ast", "compacter(n=5)", "n must divide the size and the width 32"),
    ("ast", "ladder(reduction=5)", "that the heads divide"),
    ("ast", "ladder(heads=0)", "that the heads divide"),
    # what would never train, or acts on other sites than it says
    ("ast", "lora(alpha=0)", r"lora\(alpha=0\): nothing would ever train"),
    ("ast", "lora_fa(alpha=0)", r"lora_fa\(alpha=0\): nothing would ever train"),
    ("ast", "hydra(scale=0)", r"hydra\(scale=0\): nothing would ever train"),
    ("ast", "bottleneck(scale=0)", r"bottleneck\(scale=0\): nothing would ever train"),
    ("ast", "parallel(scale=0)", r"parallel\(scale=0\): nothing would ever train"),
    ("ast", "ipet(scale=0)", r"ipet\(scale=0\): nothing would ever train"),
    ("ast", 'layernorm(at=["norm1", "q"])', "'0.q' is no norm; choose from norm1, norm2"),
    ("ast", 'conv_adapter(at=["memory"])', "conv_adapter: the site '0.memory' holds no frames"),
    ("ast", 'conformer_adapter(at=["conv.0"])', "conformer_adapter: the site 'conv.0' holds no frames"),
    ("ast", "elp(length=0)", "elp: "),
    ("hubert-layer-pre", "elp(length=0)", "elp: 0 prompts or keys; at least one"),
    ("hubert-layer-pre", "elp(encoder=0)", "elp: an E-adapter of size 0"),
    ("hubert-layer-pre", "elp(layer=0)", "elp: an L-adapter of size 0"),
]


@pytest.mark.parametrize(("variant", "spec", "message"), WRONG)
def test_what_cannot_be_meant_is_refused_without_weights(variant, spec, message, tmp_path):
    SMALL[variant].config().save_pretrained(tmp_path)
    with pytest.raises(RecipeError, match=message):
        parts(str(tmp_path), spec)


@pytest.mark.parametrize("spec", ["prefix(length=2)", "mam(length=2)", "unipelt(length=2)"])
def test_a_family_without_a_hook_in_its_attention_has_no_prefix(spec):
    sites = backbone("hubert-layer-pre").sites()
    without = replace(sites, table=tuple(site for site in sites.table if site.role != "memory"))
    with pytest.raises(RecipeError, match="hubert has no site 'memory'; it has"):
        methods.plan(methods.parse(spec), without)


def test_an_attention_that_has_no_hook_is_refused_at_once():
    model = backbone("hubert-layer-pre")
    model.core.config._attn_implementation = "flash_attention_2"
    with pytest.raises(RecipeError, match="attention of kind 'flash_attention_2' has no memory site"):
        pegbox.attach(model, "prefix(length=2)")


@pytest.mark.parametrize("spec", ["deep_prompt(length=150)", "prefix(length=150)"])
def test_the_longest_that_is_allowed_works(spec):
    model = backbone("whisper")
    pegbox.attach(model, spec)
    assert len(model(*alone(4000))) == model.depth + 1


@pytest.mark.parametrize(
    "name", [name for name in method_names() if "at" in registry.describe("methods", name).options]
)
@pytest.mark.parametrize("variant", ["hubert-layer-pre", "whisper", "ast"])
def test_a_method_at_any_site_works_or_is_refused(variant, name):
    small = EXAMPLES.get(name, (name,))[0].removesuffix(")")
    for role in backbone(variant).sites().roles:
        call = small.partition(", at=")[0]
        call += f'(at=["{role}"])' if "(" not in call else f', at=["{role}"])'
        model = backbone(variant)
        with skipping():
            try:
                delta = pegbox.attach(model, call)
            except RecipeError as refusal:
                assert role in str(refusal) or "none of the sites" in str(refusal) or "not installed" in str(refusal)
                continue
        toy_loss(model(*alone(4000))).backward()
        assert [key for key, tensor in delta.named_parameters() if tensor.grad is None] == []
