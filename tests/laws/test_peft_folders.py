"""Adapter folders of peft: what it reads from us gives our outputs, and what it saved acts the same here."""

import pytest
import torch
import transformers
from _exchanged import CLOSE, NETWORKS, out, scramble
from _models import LINEAR, SMALL, alone, backbone, library_core, network, perturb, same, snapshot
from safetensors.torch import load_file
from torch.testing import assert_close

import pegbox
from pegbox import exchange
from pegbox.errors import RecipeError, WeightsError

TO_PEFT = (
    "lora(rank=2)",
    f"lora(rank=3, alpha=5, at={LINEAR}, rslora=True)",
    'lora(rank=2, dora=True, blocks="1:")',
    "lora_fa(rank=2)",
    "ia3",
    "layernorm",
    "layernorm(outside=True)",
    "lora(rank=2) + weighted_sum",
    'lora(rank=2) + lora(rank=2, at=["up"], blocks="0")',
)
peft = pytest.importorskip("peft", reason="peft is not installed: pip install 'pegbox[peft]'")


def whole(variant, folder):
    """Saves the class by which a checkpoint of this network is loaded; returns a fresh copy of it each time."""
    model = network(variant).eval()
    model.save_pretrained(folder)
    return type(model).from_pretrained(folder).eval()


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
    "all norms but one a block": (
        lambda: peft.LNTuningConfig(target_modules=["layer_norm"]),
        'layernorm(at=[], outside=True) + layernorm(at=["norm1"])',
    ),
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
        (lambda: peft.LNTuningConfig(target_modules=["encoder.layer_norm"]), "but not 8 of them"),
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
