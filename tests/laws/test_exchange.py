"""Merged networks as transformers loads them, and finished runs by the command line, checked against the libraries."""

import json

import pytest
import torch
import transformers
from _exchanged import CLOSE, NETWORKS, out, scramble
from _models import SMALL, alone, backbone, batch, library_core, perturb, same, snapshot
from torch.testing import assert_close
from typer.testing import CliRunner

import pegbox
from pegbox import exchange, surgery
from pegbox.cli import app
from pegbox.errors import RecipeError


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
    peft = pytest.importorskip("peft", reason="peft is not installed: pip install 'pegbox[peft]'")
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
