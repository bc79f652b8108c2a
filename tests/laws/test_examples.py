"""Published and computed counts, refused options, and how edits live together on one network."""

import pytest
import torch
import transformers
from _models import ONE_EACH, WIDTH, alone, backbone, differs, hooks, same, snapshot
from torch import nn
from torch.testing import assert_close

import pegbox
from pegbox import methods, registry, surgery
from pegbox.backbones import Front, families, find_sites, from_config
from pegbox.delta import Delta, Term
from pegbox.errors import RecipeError, WeightsError
from pegbox.sites import around, on

LAYERS, D, F = 12, 768, 3072
LINEAR = '["q", "k", "v", "o", "up", "down"]'


@pytest.fixture(scope="module")
def base():
    """HuBERT-base on the meta device: 12 blocks, 768 wide, 3072 inside; no number is ever drawn."""
    return from_config(transformers.HubertConfig(), Front(16_000), device="meta", family=families()["hubert"])


@pytest.mark.parametrize(
    ("spec", "count"),
    [
        ("lora(rank=8)", 294_912),  # 12 · 2 · 2 · 768 · 8
        (f"lora(rank=8, at={LINEAR})", LAYERS * 8 * (4 * 2 * D + 2 * (D + F))),
        ('lora(rank=8, blocks="6:")', 147_456),
        ("bottleneck(size=32)", 599_424),
        ('bottleneck(size=32, at=["attn", "ffn"])', 1_198_848),
        ('bottleneck(size=64, at=["attn", "ffn"])', 2_379_264),
        ("bottleneck(size=32, norm=True)", 599_424 + LAYERS * 2 * D),
        ("bitfit", 101_376),
        ('bitfit(at=["q", "v"])', 18_432),
        ("bitfit(outside=True)", 104_704),
        ("lora(rank=8) + bitfit", 294_912 + 101_376),
        ("houlsby", 599_424),
        ('houlsby(size=64, at=["attn", "ffn"])', 2_379_264),
        ("pfeiffer(size=32)", 599_424),
        ("pfeiffer", LAYERS * (2 * D * 48 + 48 + D)),
        ("parallel", LAYERS * (2 * D * 384 + 384 + D)),
        ("parallel(learned_scale=True)", LAYERS * (2 * D * 384 + 384 + D + 1)),
        ("adapter_plus", LAYERS * (2 * D * 8 + 8 + D + D)),
        ("mms_adapter", LAYERS * (2 * D * 16 + 16 + 3 * D)),
        ("e_adapter", (LAYERS - 1) * 395_776),
        ('e_adapter(blocks="11")', 395_776),
        ("adapter_bias", 46_092),
        ("compacter", 57_088),
        ('compacter(at=["ffn"])', 28_576),
        ("ia3", 55_296),
        ("layernorm", 36_864),
        ("layernorm(outside=True)", 40_448),
        ("top_blocks(count=1)", 4 * (D * D + D) + 2 * D * F + F + D + 4 * D),
        ("loreft", LAYERS * (2 * D + 1)),
        ("loreft(rank=4)", LAYERS * (2 * D * 4 + 4)),
        ("linear_probe", 0),
        ("weighted_sum", 0),
        ("full", 94_371_712 - D),  # all of HubertModel but the mask embedding
    ],
)
def test_counts_on_hubert_base(base, spec, count):
    delta = pegbox.attach(base, spec)
    assert sum(tensor.numel() for tensor in delta.parameters()) == count
    assert all(tensor.is_meta for tensor in delta.parameters())
    delta.detach()


def test_all_linear_lora_is_the_papers_count_without_the_projection(base):
    # peft's 1,337,344 counts the feature projection (512 → 768) too.
    assert LAYERS * 8 * (4 * 2 * D + 2 * (D + F)) == 1_337_344 - 8 * (512 + D) == 1_327_104


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("lora(rank=0)", r"rank=0.*rank goes from 1 to 32"),
        ("lora(rank=-1)", r"rank=-1.*rank goes from 1 to 32"),
        (f"lora(rank={WIDTH + 1})", r"rank=33.*rank goes from 1 to 32"),
        ("lora(dropout=1.5)", r"dropout=1\.5"),
        ("lora(dropout=1.0)", r"dropout=1\.0"),
        ("lora(dropout=-0.1)", r"dropout=-0\.1"),
        ('lora(at=["norm1"])', "'0.norm1' is no linear module"),
        ('lora(at=["attn"])', "'0.attn' is no linear module"),
        ("lora(rank=0, rslora=True)", r"rank=0.*rank goes from 1 to 32"),
        ("lora(up_rate=0)", r"up_rate=0\.0\): a multiple above 0"),
        ("lora(dora=True, dropout=0.1)", r"dropout=0\.1.*no input to drop"),
        ('lora(at=["conv"], rank=1, dropout=0.1)', r"dropout=0\.1.*at 'conv\.0' there is no input to drop"),
        ('lora(at=["conv.0"], rank=1000)', r"rank=1000.*at 'conv\.0' the rank goes from 1 to"),
        ('lora(at=["memory"])', "'0.memory' is no linear module"),
        ('lora(at=["wave"])', "'wave' is no linear module"),
        ('lora(at=["query"])', "unknown site 'query'"),
        ('lora(blocks="3:")', "selects none of the blocks 0 to 2"),
        ('lora(blocks="x")', "is no block or range"),
        ("bottleneck(size=0)", "from 1 to 32"),
        (f"bottleneck(size={WIDTH + 1})", "from 1 to 32"),
        ('bottleneck(size=4, at=["memory"])', "holds no frames"),
        ('bottleneck(size=4, at=["wave"])', "holds no frames"),
        ('bottleneck(size=4, at=["conv"])', "holds no frames"),
        ('bottleneck(size=4, form="diagonal")', "'sequential' or 'parallel'"),
        ('bitfit(at=["biases"])', "unknown site 'biases'"),
        ("houlsby(size=0)", r"houlsby\(size=0\).*from 1 to 32"),
        ('houlsby(at=["memory"])', "holds no frames"),
        ("pfeiffer(size=33)", r"pfeiffer\(size=33\).*from 1 to 32"),
        ("parallel(size=0)", r"parallel\(size=0\).*from 1 to 32"),
        ("adapter_plus(size=33)", r"adapter_plus\(size=33\).*from 1 to 32"),
        ("mms_adapter(size=0)", r"mms_adapter\(size=0\).*from 1 to 32"),
        ("e_adapter(size=0)", "e_adapter: an E-adapter of size 0.*at least 1"),
        ('adapter_bias(start="random")', "'zeros' or 'ones'"),
        ("compacter(n=0)", r"compacter\(n=0\): at least one"),
        ("compacter(size=3, n=2)", r"compacter\(size=3, n=2\): n must divide the size and the width 32"),
        ("compacter(size=3, n=3)", "n must divide"),
        ("compacter(size=0)", "from 1 to 32"),
        ('compacter(at=["wave"])', "'wave' holds no frames"),
        ('ia3(at=["ffn"])', "'0.ffn' is no linear module"),
        ('ia3(at=["conv.0"])', "'conv.0' is no linear module"),
        ("top_blocks(count=0)", r"top_blocks\(count=0\).*from 1 to 3"),
        ("top_blocks(count=4)", r"top_blocks\(count=4\).*from 1 to 3"),
        ("loreft(rank=0)", r"rank=0.*rank goes from 1 to 32"),
        ("loreft(rank=33)", r"rank=33.*rank goes from 1 to 32"),
        ('loreft(positions="first", count=0)', r"count=0\): at least one frame"),
        ('loreft(positions="middle")', "'all' or 'first' or 'last'"),
        ("lora_fa(rank=33)", r"lora_fa\(rank=33\).*from 1 to 32"),
        ('lora_fa(at=["conv"])', "'conv.0' is no linear module"),
        ("vera(rank=0)", r"vera\(rank=0\): at least 1"),
        ("vera(first=0)", "neither would ever train"),
        ("hydra(rank=0)", r"hydra\(rank=0\).*from 1 to 32"),
        ('hydra(at=["ffn"])', "'0.ffn' is no linear module"),
        ("chapter(scale=0)", "nothing would ever train"),
        ("lora(rank=2, size=3)", "no option 'size'"),
        ("loro", "did you mean 'lora'"),
    ],
)
@pytest.mark.parametrize("variant", ONE_EACH)
def test_an_option_that_cannot_be_meant_is_refused_and_changes_nothing(variant, spec, message):
    model = backbone(variant)
    tensors, hanging = snapshot(model), hooks(model)
    with pytest.raises(RecipeError, match=f"{message}|has no site 'conv"):
        pegbox.attach(model, spec)
    assert same(tensors, snapshot(model))
    assert hooks(model) == hanging


@pytest.mark.parametrize(
    "spec", ["lora(at=[])", "bottleneck(size=2, at=[])", 'bitfit(at=["enter"])', 'top_blocks(blocks="0")']
)
def test_a_method_that_would_edit_nothing_is_no_silent_no_op(spec):
    with pytest.raises(RecipeError, match="none of the sites"):
        pegbox.attach(backbone("hubert-layer-pre"), spec)


class Plus(nn.Module):
    """y + 1, as an edit that no one can merge."""

    def forward(self, x, y):
        return y + 1


class Twice(nn.Module):
    """2 w."""

    def forward(self, tensor):
        return tensor * 2


def test_a_plan_that_fails_half_way_leaves_the_network_as_it_was():
    model = backbone("whisper").core.requires_grad_(True)
    site = next(find_sites(families()["whisper"], model, None)("q"))
    tensors, hanging = snapshot(model), hooks(model)
    with pytest.raises(RecipeError, match="two edits"):
        Delta(model, [Term("twice", (around(site, Plus()), around(site, Plus())))])
    assert same(tensors, snapshot(model))
    assert hooks(model) == hanging
    assert all(tensor.requires_grad for tensor in model.parameters())


@torch.no_grad()
@pytest.mark.parametrize("first", ["around", "on"])
def test_edits_of_a_weight_and_around_its_module_merge_in_either_order(first):
    model = backbone("hubert-layer-post")
    site = next(iter(model.sites()("q")))
    lora = next(iter(methods.plan(methods.parse("lora(rank=2)"), model.sites())))
    edit = next(edit for edit in lora.edits if edit.site.name == site.name)
    edit.module.up.normal_()
    terms = [Term("low", (edit,)), Term("scale", (on(site, "weight", Twice()),))]
    delta = Delta(model.core, terms if first == "around" else terms[::-1]).eval()
    attached = model(*alone(4000))[-1]
    delta.merge()
    assert_close(model(*alone(4000))[-1], attached, atol=1e-5, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("variant", ONE_EACH)
def test_edits_at_one_site_apply_in_the_order_of_the_union(variant):
    model = backbone(variant)
    site = next(iter(model.sites()("leave")))
    for modules, expected in (((Plus(), Double()), 2), ((Double(), Plus()), 1)):
        plain = model(*alone(4000))[1]
        delta = Delta(model.core, [Term(str(i), (around(site, module),)) for i, module in enumerate(modules)])
        assert_close(model(*alone(4000))[1], 2 * plain + expected)
        delta.detach()


class Double(nn.Module):
    """2 y."""

    def forward(self, x, y):
        return 2 * y


@torch.no_grad()
@pytest.mark.parametrize("variant", ONE_EACH)
def test_a_second_delta_is_refused_and_the_first_stays_alive(variant):
    model = backbone(variant)
    first = pegbox.attach(model, "lora(rank=2)")
    for tensor in first.parameters():
        tensor.add_(0.1)
    attached = model(*alone(4000))
    with pytest.raises(RecipeError, match="already carries"):
        pegbox.attach(model, "bitfit")
    assert all(torch.equal(a, b) for a, b in zip(attached, model(*alone(4000)), strict=True))
    assert all(tensor.requires_grad for tensor in first.parameters())
    first.detach()
    pegbox.attach(model, "lora(rank=2)").merge()
    pegbox.attach(model, "bottleneck(size=2)")
    assert differs(attached, model(*alone(4000)))


@pytest.mark.parametrize("damage", [b"", b"not tensors", None])
def test_a_damaged_delta_file_is_refused(damage, tmp_path):
    path, delta = tmp_path / "delta.safetensors", pegbox.attach(backbone("whisper"), "lora(rank=2)")
    surgery.save(delta, path)
    path.write_bytes(path.read_bytes()[:-100] if damage is None else damage)
    with pytest.raises(WeightsError, match="no readable Pegbox tensors"):
        surgery.load(delta, path)
    with pytest.raises(WeightsError, match="no readable Pegbox tensors"):
        surgery.load(delta, tmp_path / "nowhere")


def test_writing_leaves_no_half_file(tmp_path):
    surgery.save(pegbox.attach(backbone("whisper"), "lora(rank=2)"), tmp_path / "delta.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["delta.safetensors"]
    tensors, about = surgery.read_tensors(tmp_path / "delta.safetensors")
    assert about == {"terms": ["lora"]}
    assert len(tensors) == 12


@pytest.mark.parametrize("name", tuple(registry.names("methods")))
def test_every_method_describes_itself_with_defaults_for_all_options(name):
    plugin = registry.describe("methods", name)
    assert plugin.summary.endswith(".")
    assert all(option.default is not None for option in plugin.options.values())
