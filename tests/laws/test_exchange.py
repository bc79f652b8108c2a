"""Adapters to and from peft, and merged networks as transformers loads them, checked against those libraries."""

import json

import pytest
import torch
import transformers
from _models import (
    LINEAR,
    SMALL,
    alone,
    backbone,
    batch,
    clip,
    features,
    library_core,
    network,
    perturb,
    same,
    snapshot,
)
from safetensors.torch import load_file
from torch.testing import assert_close
from typer.testing import CliRunner

import pegbox
from pegbox import exchange, surgery
from pegbox.backbones import families
from pegbox.cli import app
from pegbox.errors import RecipeError, WeightsError

NETWORKS = ("hubert-layer-pre", "hubert-group-post", "wav2vec2-layer-post", "whisper", "ast", "data2vec", "w2v_bert")
CLOSE = {"atol": 1e-5, "rtol": 1e-4}
TO_PEFT = (
    "lora(rank=2)",
    f"lora(rank=3, alpha=5, at={LINEAR}, rslora=True)",
    'lora(rank=2, dora=True, blocks="1:")',
    "lora_fa(rank=2)",
    "ia3",
    "layernorm",
    "lora(rank=2) + weighted_sum",
    'lora(rank=2) + lora(rank=2, at=["up"], blocks="0")',
)
peft = pytest.importorskip("peft", reason="peft is not installed: pip install 'pegbox[peft]'")


def whole(variant, folder):
    """Saves the class by which a checkpoint of this network is loaded; returns a fresh copy of it each time."""
    model = network(variant).eval()
    model.save_pretrained(folder)
    return type(model).from_pretrained(folder).eval()


def out(model, variant):
    """Returns what the network makes of a clip, by the library's own forward."""
    core = model.get_submodule(families()[SMALL[variant].family].inside)
    with torch.no_grad():
        prepared = features(variant, clip(6000))
        return core(next(prepared[name] for name in ("input_values", "input_features") if name in prepared))[0]


def scramble(module, share=0.1):
    with torch.no_grad():
        for tensor in module.parameters():
            if tensor.requires_grad:
                tensor.add_(torch.randn_like(tensor) * share)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("spec", TO_PEFT)
@pytest.mark.parametrize("variant", NETWORKS)
def test_peft_reads_what_we_write_and_gives_our_outputs(variant, spec, tmp_path):
    model = whole(variant, tmp_path / "base")
    plain = out(model, variant)
    delta = pegbox.attach(model, spec).eval()
    scramble(delta)
    ours = out(model, variant)
    exchange.export_peft(delta, model, tmp_path / "adapter")
    delta.detach()
    theirs = peft.PeftModel.from_pretrained(model, tmp_path / "adapter").eval()
    assert_close(ours, out(theirs.get_base_model(), variant), **CLOSE)
    assert float((ours - plain).abs().max()) > 1e-3
    assert sorted(path.name for path in (tmp_path / "adapter").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]


@pytest.mark.filterwarnings("ignore")
def test_a_backbone_is_written_by_the_paths_of_the_class_that_loads_it(tmp_path):
    for variant, kind in (("whisper", "WhisperForAudioClassification"), ("hubert-layer-pre", "HubertModel")):
        model = backbone(variant)
        scramble(pegbox.attach(model, "linear_probe"))
        delta = pegbox.attach(backbone(variant), "lora(rank=2)")
        with pytest.raises(RecipeError, match="not attached to this model"):
            exchange.export_peft(delta, model, tmp_path / "none")
        fresh = backbone(variant)
        delta = pegbox.attach(fresh, "lora(rank=2)")
        exchange.export_peft(delta, fresh, tmp_path / kind, source="some/checkpoint")
        config = peft.PeftConfig.from_pretrained(tmp_path / kind)
        assert config.base_model_name_or_path == "some/checkpoint" and config.r == 2 and config.lora_alpha == 16
        library = getattr(transformers, kind)(SMALL[variant].config())
        loaded = peft.PeftModel.from_pretrained(library, tmp_path / kind).state_dict()
        stored = load_file(tmp_path / kind / "adapter_model.safetensors")
        assert all(torch.equal(tensor, loaded[renamed(name)]) for name, tensor in stored.items())


def renamed(name):
    return name.replace(".weight", ".default.weight")


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("bottleneck(size=4)", "no form for bottleneck"),
        ("prefix(length=2)", "no form for prefix"),
        ("lora(rank=2) + bitfit", r"no form for bitfit \+ lora"),
        ("linear_probe", "no form for a method without edits"),
        ("lora(rank=2) + lora(rank=3, at=['k'])", "one rank, scale and kind"),
        ("lora(rank=2) + lora(rank=2)", "one LORA a module"),
        ("lora(rank=2, at=['conv'])", "is a convolution"),
    ],
)
def test_what_peft_cannot_express_is_refused_with_nothing_written(spec, reason, tmp_path):
    model = backbone("hubert-layer-pre")
    with pytest.raises(RecipeError, match=reason):
        exchange.export_peft(pegbox.attach(model, spec), model, tmp_path / "adapter")
    assert list(tmp_path.iterdir()) == []


def test_on_wavlm_peft_could_not_act_and_that_is_said(tmp_path):
    model = backbone("wavlm-layer-pre")
    delta = pegbox.attach(model, "lora(rank=2)")
    with pytest.raises(RecipeError, match="never calls the modules"):
        exchange.export_peft(delta, model, tmp_path / "adapter")
    delta.detach()
    exchange.export_peft(pegbox.attach(model, "lora(rank=2, at=['up'])"), model, tmp_path / "adapter")


FROM_PEFT = {
    "lora": (lambda: peft.LoraConfig(r=2, lora_alpha=6, target_modules=["q_proj", "v_proj"]), 'at=["q", "v"]'),
    "rslora": (lambda: peft.LoraConfig(r=4, use_rslora=True, target_modules=["k_proj"], lora_dropout=0.1), "rslora"),
    "dora": (lambda: peft.LoraConfig(r=2, use_dora=True, target_modules=["q_proj"]), "dora=True"),
    "some blocks": (
        lambda: peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"], layers_to_transform=[0, 2]),
        'blocks="0,2"',
    ),
    "a pattern": (lambda: peft.LoraConfig(r=2, target_modules=r".*layers\.(0\.\w+\.q|1\.\w+\.v)_proj"), " + lora("),
    "ia3": (
        lambda: peft.IA3Config(target_modules=["k_proj", "output_dense"], feedforward_modules=["output_dense"]),
        'ia3(at=["k", "down"])',
    ),
    "layernorm": (lambda: peft.LNTuningConfig(target_modules=["final_layer_norm"]), 'layernorm(at=["norm2"])'),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", FROM_PEFT)
@pytest.mark.parametrize("kind", ["HubertModel", "Wav2Vec2ForCTC"])
def test_what_peft_saved_acts_the_same_here(case, kind, tmp_path):
    variant = "hubert-layer-pre" if kind == "HubertModel" else "wav2vec2-group-post"
    torch.manual_seed(4)
    library = getattr(transformers, kind)(SMALL[variant].config()).eval()
    perturb(library)
    library.save_pretrained(tmp_path / "base")
    model = getattr(transformers, kind).from_pretrained(tmp_path / "base").eval()
    config, told = FROM_PEFT[case]
    theirs = peft.get_peft_model(library, config()).eval()
    scramble(theirs)
    theirs.save_pretrained(tmp_path / "adapter")
    before = snapshot(model)
    found = exchange.import_peft(tmp_path / "adapter", model)
    assert told in found.method and same(before, snapshot(model))
    pegbox.attach(model, found.method).load_tensors(found.tensors).eval()
    wave = alone(6000)[0]
    with torch.no_grad():
        assert_close(theirs(wave)[0], model(wave)[0], **CLOSE)


@pytest.mark.filterwarnings("ignore")
def test_there_and_back_gives_every_bit(tmp_path):
    model = backbone("whisper")
    delta = pegbox.attach(model, f"lora(rank=2, at={LINEAR})")
    scramble(delta)
    exchange.export_peft(delta, model, tmp_path / "adapter")
    before = delta.tensors()
    delta.detach()
    found = exchange.import_peft(tmp_path / "adapter", model)
    assert same(dict(sorted(before.items())), dict(sorted(found.tensors.items())))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: peft.LoraConfig(target_modules=["q_proj"], rank_pattern={"0.attention.q_proj": 4}), "rank_pattern"),
        (lambda: peft.LoraConfig(target_modules=["q_proj"], modules_to_save=["final_layer_norm"]), "modules_to_save"),
        (lambda: peft.LoraConfig(target_modules=["q_proj"], bias="all"), "bias='all'"),
        (lambda: peft.LoraConfig(target_modules=["q_proj"], init_lora_weights="pissa"), "init_lora_weights='pissa'"),
        (lambda: peft.LoraConfig(target_modules=["projection"]), "'feature_projection.projection', which is no site"),
        (lambda: peft.LNTuningConfig(target_modules=["layer_norm"]), "which is no site"),
        (lambda: peft.HRAConfig(r=2, target_modules=["q_proj"]), "peft's type HRA"),
        (
            lambda: peft.IA3Config(target_modules=["intermediate_dense"], feedforward_modules=["intermediate_dense"]),
            "on its other side",
        ),
    ],
)
def test_what_no_method_here_means_is_refused_by_name(make, reason, tmp_path):
    model = library_core("hubert-layer-pre")
    peft.get_peft_model(model, make()).save_pretrained(tmp_path)
    fresh = library_core("hubert-layer-pre")
    with pytest.raises(RecipeError, match=reason):
        exchange.import_peft(tmp_path, fresh)
    pegbox.attach(fresh, "lora")  # nothing was left on it


@pytest.mark.filterwarnings("ignore")
def test_a_decoder_another_network_and_no_folder_are_refused(tmp_path):
    model = transformers.WhisperModel(SMALL["whisper"].config())
    both = peft.LoraConfig(r=2, target_modules=["self_attn.q_proj"])
    peft.get_peft_model(model, both).save_pretrained(tmp_path / "both")
    with pytest.raises(RecipeError, match="one encoder and no decoder"):
        exchange.import_peft(tmp_path / "both", backbone("whisper"))
    wider = SMALL["hubert-layer-pre"].config()
    wider.hidden_size = 64
    model = peft.get_peft_model(transformers.HubertModel(wider), peft.LoraConfig(r=2, target_modules=["q_proj"]))
    model.save_pretrained(tmp_path / "wider")
    with pytest.raises(WeightsError, match=r"stored \(2, 64\), wanted \(2, 32\)"):
        exchange.import_peft(tmp_path / "wider", backbone("hubert-layer-pre"))
    with pytest.raises(WeightsError, match="no readable"):
        exchange.import_peft(tmp_path, backbone("hubert-layer-pre"))


@pytest.mark.parametrize("spec", ["lora(rank=2) + bitfit", "ia3", "full", "lora(rank=2, dora=True)", "layernorm"])
@pytest.mark.parametrize("variant", [*NETWORKS, "wavlm-layer-pre"])
def test_a_merged_backbone_is_an_ordinary_checkpoint(variant, spec, tmp_path):
    model = backbone(variant)
    delta = pegbox.attach(model, spec).eval()
    scramble(delta, 0.02)
    with torch.no_grad():
        before = model(*batch(6000, 4000))
    layerdrop = getattr(SMALL[variant].config(), "layerdrop", None)
    exchange.export_merged(delta, model, tmp_path / "merged")
    fresh = getattr(transformers, model.family.network).from_pretrained(tmp_path / "merged").eval()
    assert getattr(fresh.config, "layerdrop", None) == layerdrop
    assert {tensor.dtype for tensor in fresh.parameters()} == {torch.float32}
    if variant not in ("whisper",):  # whose front-end is Pegbox's own
        merged = out(fresh, variant)
        reference = library_core(variant)
        reference.load_state_dict(model.core.state_dict())
        assert_close(merged, out(reference, variant), **CLOSE)
    again = pegbox.load_backbone(str(tmp_path / "merged"))
    with torch.no_grad():
        for old, new in zip(before, again(*batch(6000, 4000)), strict=True):
            assert_close(old, new, atol=5e-5, rtol=1e-4)
        for old, new in zip(before, model(*batch(6000, 4000)), strict=True):  # it goes on as it was
            assert_close(old, new, atol=5e-5, rtol=1e-4)
    assert again.front_settings.settings == json.loads(json.dumps(dict(model.front_settings.settings)))


@pytest.mark.parametrize("kind", ["HubertForCTC", "WavLMForSequenceClassification"])
def test_a_callers_model_is_written_with_its_head(kind, tmp_path):
    torch.manual_seed(3)
    model = getattr(transformers, kind)(SMALL["hubert-layer-pre" if kind[0] == "H" else "wavlm-layer-pre"].config())
    perturb(model.eval())
    delta = pegbox.attach(model, "lora(rank=2)").eval()
    scramble(delta)
    with torch.no_grad():
        before = model(alone(6000)[0]).logits
    exchange.export_merged(delta, model, tmp_path / "merged")
    with torch.no_grad():
        after = getattr(transformers, kind).from_pretrained(tmp_path / "merged").eval()(alone(6000)[0]).logits
    assert_close(before, after, **CLOSE)


def test_what_cannot_be_merged_leaves_network_and_disk_alone(tmp_path):
    model = backbone("hubert-layer-pre")
    delta = pegbox.attach(model, "lora(rank=2) + bottleneck(size=4)").eval()
    scramble(delta)
    before = snapshot(model)
    with pytest.raises(RecipeError, match="cannot be merged"):
        exchange.export_merged(delta, model, tmp_path / "merged")
    assert same(before, snapshot(model)) and list(tmp_path.iterdir()) == []
    with pytest.raises(RecipeError, match="transformers cannot save a Linear"):
        exchange.export_merged(delta, torch.nn.Linear(2, 2), tmp_path / "merged")
    (tmp_path / "merged").mkdir()
    (tmp_path / "merged" / "mine").write_text("kept")
    with pytest.raises(RecipeError, match="choose another folder"):
        exchange.export_merged(delta, model, tmp_path / "merged")
    assert (tmp_path / "merged" / "mine").read_text() == "kept"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_run_is_exported_by_the_command_line_and_comes_back(precision, hubert, tones, tmp_path):
    settings = {
        "backbone": str(hubert),
        "method": "lora(rank=2)",
        "task": 'classify(label="class")',
        "corpus": f'folder(root="{tones}", valid=0.2, test=0.2)',
        "train": {"epochs": 1, "precision": precision},
    }
    pegbox.train(settings, tmp_path / "run")
    for form in ("peft", "merged"):
        done = CliRunner().invoke(app, ["export", str(tmp_path / "run"), str(tmp_path / form), "--as", form])
        assert done.exit_code == 0, done.output
        tensors, about = surgery.read_tensors(tmp_path / form / "pegbox.safetensors")
        assert {name.partition(".")[0] for name in tensors} == {"head", "layers"}
        assert about["vocabulary"] == ["high", "low", "mid"] and about["method"] == "lora(rank=2)"
    wave = alone(6000)[0]
    merged = transformers.HubertModel.from_pretrained(tmp_path / "merged").eval()
    base = transformers.HubertModel.from_pretrained(hubert).eval()
    adapted = peft.PeftModel.from_pretrained(base, tmp_path / "peft").eval()
    with torch.no_grad():
        assert_close(adapted(wave)[0], merged(wave)[0], **CLOSE)
    arguments = ["import-peft", str(tmp_path / "peft"), str(hubert), str(tmp_path / "delta.safetensors")]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    model = pegbox.load_backbone(str(hubert))
    back = surgery.load(pegbox.attach(model, done.output.strip()), tmp_path / "delta.safetensors")
    run, _ = surgery.read_tensors(tmp_path / "run" / "delta.safetensors")
    assert all(torch.equal(run[f"delta.{name}"], tensor) for name, tensor in back.tensors().items())
