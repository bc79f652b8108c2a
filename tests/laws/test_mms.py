"""Language adapters of MMS: what transformers' `load_adapter` reads from us acts the same, and what it has, here."""

import json
import shutil

import pytest
import torch
from _models import SMALL, alone, backbone, perturb, same, snapshot
from safetensors.torch import load_file, save_file
from torch import nn
from torch.testing import assert_close
from transformers import Wav2Vec2CTCTokenizer, Wav2Vec2FeatureExtractor, Wav2Vec2ForCTC
from typer.testing import CliRunner

import pegbox
from pegbox import exchange, run, surgery
from pegbox.cli import app
from pegbox.errors import RecipeError, WeightsError

CLOSE = {"atol": 1e-5, "rtol": 1e-4}
SIZE = 4
SPEC = f"mms_adapter(size={SIZE})"


@pytest.fixture(params=[False, True], ids=["without adapters", "with a language's adapters"])
def checkpoint(request, tmp_path):
    """Saves a pre-norm CTC network, with the adapters of another language in its blocks or without."""
    config = SMALL["wav2vec2-layer-pre"].config()
    config.adapter_attn_dim = SIZE if request.param else None
    model = Wav2Vec2ForCTC(config).eval()
    perturb(model)
    model.save_pretrained(tmp_path / "base")
    Wav2Vec2FeatureExtractor(do_normalize=False).save_pretrained(tmp_path / "base")
    return tmp_path / "base"


def library(checkpoint):
    """Returns the network as a user of transformers opens it to load a language."""
    return Wav2Vec2ForCTC.from_pretrained(checkpoint, adapter_attn_dim=SIZE).eval()


def logits(model):
    with torch.no_grad():
        return model(alone(6000)[0]).logits


def test_load_adapter_reads_what_we_write_and_gives_our_outputs(checkpoint, tmp_path):
    model = Wav2Vec2ForCTC.from_pretrained(checkpoint).eval()
    plain, before = logits(model), snapshot(model.wav2vec2)
    delta = pegbox.attach(model, SPEC)
    assert torch.equal(plain, logits(model))  # the language that is there is where it starts from
    perturb(delta)
    model.lm_head = nn.Linear(32, 7)  # another language has other letters
    ours = logits(model)
    exchange.export_mms(delta, model, tmp_path / "out", "xyz", model.lm_head)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["adapter.xyz.safetensors"]
    shutil.copy(tmp_path / "out" / "adapter.xyz.safetensors", checkpoint)
    theirs = library(checkpoint)
    theirs.load_adapter("xyz")
    assert_close(logits(theirs), ours, **CLOSE)
    assert float((ours - plain[..., :7]).abs().max()) > 1e-3
    delta.detach()
    assert same(before, snapshot(model.wav2vec2))


def test_a_language_of_the_librarys_acts_the_same_here(checkpoint, tmp_path):
    theirs = library(checkpoint)
    perturb(theirs.wav2vec2.encoder.layers.get_submodule("1.adapter_layer"))
    save_file({name: t.detach().contiguous() for name, t in theirs._get_adapters().items()}, tmp_path / "adapter.abc")
    model = Wav2Vec2ForCTC.from_pretrained(checkpoint).eval()
    before = snapshot(model)
    found = exchange.import_mms(tmp_path / "adapter.abc", model)
    assert found.method == SPEC and same(before, snapshot(model))
    pegbox.attach(model, found.method).load_tensors(found.tensors)
    model.lm_head.load_state_dict(found.head)
    assert_close(logits(model), logits(theirs), **CLOSE)
    fold = pegbox.load_backbone(str(checkpoint))
    again = exchange.import_mms(tmp_path / "adapter.abc", fold)
    assert again.method == found.method and same(again.tensors, found.tensors)
    pegbox.attach(fold, again.method).load_tensors(again.tensors)
    with torch.no_grad():
        head = nn.functional.linear(fold(*alone(6000))[-1], found.head["weight"], found.head["bias"])
    assert_close(head, logits(theirs), **CLOSE)


def train(checkpoint, tones, folder, **more):
    """Trains a few steps of the adapter and a head for the letters of the tones' names."""
    settings = {
        "backbone": str(checkpoint),
        "method": SPEC,
        "task": 'ctc(label="class")',
        "corpus": f'folder(root="{tones}", valid=0.2, test=0.2)',
        "train": {"steps": 4, "batch_clips": 8},
    }
    pegbox.train(settings | more, folder)


def test_a_run_is_a_language_by_the_command_line_and_comes_back(checkpoint, tones, tmp_path):
    train(checkpoint, tones, tmp_path / "run", features="last")
    done = CliRunner().invoke(app, ["export-mms", str(tmp_path / "run"), str(tmp_path / "out"), "xyz"])
    assert done.exit_code == 0, done.output
    for path in (tmp_path / "out").iterdir():
        shutil.copy(path, checkpoint)
    units = ["<pad>", *sorted(set("highlowmid"))]
    assert json.loads((checkpoint / "vocab.json").read_text()) == {"xyz": {unit: n for n, unit in enumerate(units)}}
    tokenizer = Wav2Vec2CTCTokenizer.from_pretrained(checkpoint, target_lang="xyz")
    assert tokenizer.decode([5, 5, 0, 6, 8]) == "".join(units[number] for number in (5, 6, 8))
    theirs = library(checkpoint)
    theirs.load_adapter("xyz")
    tuned = run.open_model(run.load(tmp_path / "run"))
    with torch.no_grad():
        x = tuned.backbone(*alone(6000))[-1]
        ours = tuned.head(x, torch.tensor([x.shape[1]]))
    assert_close(ours, logits(theirs), **CLOSE)
    arguments = ["import-mms", str(tmp_path / "out" / "adapter.xyz.safetensors"), str(checkpoint)]
    done = CliRunner().invoke(app, [*arguments, str(tmp_path / "delta.safetensors")])
    assert done.exit_code == 0 and done.output.strip() == SPEC, done.output
    model = pegbox.load_backbone(str(checkpoint))
    back = surgery.load(pegbox.attach(model, SPEC), tmp_path / "delta.safetensors")
    assert same(dict(back.tensors()), tuned.delta.tensors())
    head, _ = surgery.read_tensors(tmp_path / "delta.head.safetensors")
    assert torch.equal(head["weight"], tuned.head.state_dict()["layers.0.weight"])


@pytest.mark.parametrize(
    ("variant", "spec", "head", "language", "reason"),
    [
        ("hubert-layer-pre", SPEC, nn.Linear(32, 5), "deu", "pre-norm wav2vec2 only; this is pre-norm hubert"),
        ("wav2vec2-layer-post", SPEC, nn.Linear(32, 5), "deu", "this is post-norm wav2vec2"),
        ("wav2vec2-layer-pre", "lora(rank=2)", nn.Linear(32, 5), "deu", "one mms_adapter, here is lora"),
        ("wav2vec2-layer-pre", f"{SPEC} + bitfit", nn.Linear(32, 5), "deu", r"here is mms_adapter \+ bitfit"),
        ("wav2vec2-layer-pre", 'mms_adapter(blocks="1:")', nn.Linear(32, 5), "deu", "all 3 blocks, .* has 2"),
        ("wav2vec2-layer-pre", SPEC, nn.Sequential(), "deu", "a linear head with a bias, here is a Sequential"),
        ("wav2vec2-layer-pre", SPEC, nn.Linear(32, 5), "../deu", "letters, digits"),
    ],
)
def test_what_a_languages_file_cannot_hold_is_refused_with_nothing_written(
    variant, spec, head, language, reason, tmp_path
):
    model = backbone(variant)
    delta = pegbox.attach(model, spec)
    with pytest.raises(RecipeError, match=reason):
        exchange.export_mms(delta, model, tmp_path / "out", language, head)
    assert list(tmp_path.iterdir()) == []


def test_other_files_are_refused(tmp_path):
    model = backbone("wav2vec2-layer-pre")
    with pytest.raises(WeightsError, match="no readable safetensors file"):
        exchange.import_mms(tmp_path / "adapter.deu.safetensors", model)
    delta = pegbox.attach(model, SPEC)
    exchange.export_mms(delta, model, tmp_path / "out", "deu", nn.Linear(32, 5))
    delta.detach()
    path = tmp_path / "out" / "adapter.deu.safetensors"
    stored = load_file(path)
    del stored["wav2vec2.encoder.layers.2.adapter_layer.norm.bias"]
    save_file(stored, path)
    with pytest.raises(WeightsError, match=r"1 tensors do not fit .* stored not at all, wanted \(32,\)"):
        exchange.import_mms(path, model)
    save_file({"x": torch.ones(1)}, path)
    with pytest.raises(WeightsError, match="is it a language adapter of MMS"):
        exchange.import_mms(path, model)
    pegbox.attach(model, SPEC)  # nothing was left on it


def test_a_run_that_is_no_language_is_refused(checkpoint, tones, tmp_path):
    train(checkpoint, tones, tmp_path / "run")
    with pytest.raises(RecipeError, match="features='last'"):
        exchange.export_language(tmp_path / "run", tmp_path / "out", "xyz")
