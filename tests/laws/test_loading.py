"""Backbones from folders: identity, digests, outlines, and what is refused."""

import json

import pytest
import torch
import transformers
from _models import ONE_EACH, SMALL, SPEECH, VARIANTS, WIDTH, alone, backbone, library_core, network
from safetensors.torch import load_file, save_file
from torch.testing import assert_close
from transformers.utils import logging

import pegbox
from pegbox.backbones import Front, families, from_config, outline
from pegbox.backbones._fold import digest
from pegbox.errors import WeightsError


def saved(variant, folder, model=None):
    """Writes a network and its extractor as the hub holds them; returns the folder's name."""
    (network(variant) if model is None else model).save_pretrained(folder)
    SMALL[variant].extractor().save_pretrained(folder)
    return str(folder)


def rewrite(folder, change):
    """Passes the stored tensors through `change`."""
    file = folder / "model.safetensors"
    save_file(change(load_file(file)), file, {"format": "pt"})


@torch.no_grad()
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_saved_network_loads_with_the_same_numbers_and_digest(variant, tmp_path):
    direct, loaded = backbone(variant), pegbox.load_backbone(saved(variant, tmp_path))
    assert loaded.family.name == SMALL[variant].family
    assert loaded.digest
    assert loaded.digest == pegbox.load_backbone(str(tmp_path)).digest == direct.digest
    for ours, theirs in zip(loaded(*alone(5000)), direct(*alone(5000)), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("variant", ONE_EACH)
def test_the_digest_does_not_depend_on_the_precision(variant, tmp_path):
    source = saved(variant, tmp_path)
    coarse = pegbox.load_backbone(source, precision="bf16")
    assert coarse.digest == pegbox.load_backbone(source).digest
    assert next(coarse.blocks.parameters()).dtype == torch.bfloat16


@pytest.mark.parametrize("variant", ONE_EACH)
def test_the_digest_sees_every_tensor_that_the_fold_uses(variant):
    before, settings, family = backbone(variant).digest, backbone(variant).front_settings, backbone(variant).family
    blind = []
    for name in library_core(variant).state_dict():
        core = library_core(variant)
        with torch.no_grad():
            last = core.state_dict()[name].view(-1)[-1]
            last.add_(1e-3 if last.dtype.is_floating_point else 1)
        blind += [name] if digest(core, settings, family.unread) == before else []
    assert blind == [name for name in core.state_dict() if not family.reads(name)]


def test_the_digest_sees_the_input_settings():
    core, family = library_core("ast"), families()["ast"]
    settings = [{"mean": -4.0}, {"mean": -5.0}, {}]
    digests = {pegbox.backbones.Backbone(family, core, Front(16_000, s), "", "fp32").digest for s in settings}
    assert len(digests) == len(settings)


@pytest.mark.parametrize("variant", SPEECH)
def test_a_tensor_that_no_one_uses_may_be_missing_and_is_no_part_of_the_digest(variant, tmp_path):
    source = saved(variant, tmp_path)
    whole = pegbox.load_backbone(source).digest
    rewrite(tmp_path, lambda tensors: {name: t for name, t in tensors.items() if name != "masked_spec_embed"})
    digests = set()
    for seed in range(2):
        torch.manual_seed(seed)
        digests.add(pegbox.load_backbone(source).digest)
    assert digests == {whole}


TASK_MODELS = [
    ("wav2vec2-layer-pre", "Wav2Vec2ForCTC", "wav2vec2"),
    ("hubert-group-post", "HubertForSequenceClassification", "hubert"),
    ("wavlm-layer-pre", "WavLMForCTC", "wavlm"),
    ("unispeech-group-post", "UniSpeechForCTC", "unispeech"),
    ("unispeech_sat-layer-pre", "UniSpeechSatForSequenceClassification", "unispeech_sat"),
    ("data2vec", "Data2VecAudioForCTC", "data2vec_audio"),
    ("w2v_bert", "Wav2Vec2BertForCTC", "wav2vec2_bert"),
    ("wav2vec2_conformer-relative", "Wav2Vec2ConformerForSequenceClassification", "wav2vec2_conformer"),
    ("sew", "SEWForCTC", "sew"),
    ("whisper", "WhisperModel", "encoder"),
    ("whisper", "WhisperForConditionalGeneration", "model.encoder"),
    ("whisper", "WhisperForAudioClassification", "encoder"),
    ("ast", "ASTForAudioClassification", "audio_spectrogram_transformer"),
]


@pytest.mark.parametrize(("variant", "class_name", "path"), TASK_MODELS, ids=[name for _, name, _ in TASK_MODELS])
def test_the_encoder_of_a_task_checkpoint_is_the_same_backbone(variant, class_name, path, tmp_path):
    model = getattr(transformers, class_name)(SMALL[variant].config())
    model.get_submodule(path).load_state_dict(library_core(variant).state_dict())
    assert pegbox.load_backbone(saved(variant, tmp_path, model)).digest == backbone(variant).digest


@pytest.mark.parametrize("variant", VARIANTS)
def test_an_outline_has_the_sites_and_width_without_weights(variant, tmp_path):
    source = saved(variant, tmp_path)
    (tmp_path / "model.safetensors").unlink()
    empty, full = outline(source), backbone(variant)
    real = [name for name, tensor in empty.core.named_parameters() if not tensor.is_meta]
    assert not any(map(empty.family.reads, real))  # the library makes the mask embedding by hand
    assert (empty.width, empty.depth, empty.hop, empty.rate) == (WIDTH, full.depth, full.hop, full.rate)
    assert empty.digest == ""
    shape = [(site.name, site.place, site.input_width, site.output_width) for site in full.sites().table]
    assert [(site.name, site.place, site.input_width, site.output_width) for site in empty.sites().table] == shape
    assert empty.frames(5000) == full.frames(5000)


def test_what_stands_behind_the_fold_is_neither_read_nor_trained():
    config, family = SMALL["w2v_bert"].config(), families()["w2v_bert"]
    config.add_adapter = True
    made = from_config(config, Front(16_000), family=family)
    behind = [name for name, _ in made.core.named_parameters() if name.startswith("adapter.")]
    assert behind and not any(map(family.reads, behind))
    assert not any(name.startswith("adapter/") for name in pegbox.attach(made, "full").freed)


@pytest.mark.parametrize("settings", [{"stride": 3}, {"num_mel_bins": 40}])
def test_an_input_that_does_not_fit_the_network_is_refused(settings):
    with pytest.raises(WeightsError, match="pairs of rows only"):
        from_config(SMALL["w2v_bert"].config(), Front(16_000, settings), family=families()["w2v_bert"])


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_backbone_can_be_made_from_a_configuration(variant):
    family = families()[SMALL[variant].family]
    made = from_config(SMALL[variant].config(), Front(16_000), family=family)
    assert made(*alone(4000))[-1].shape[-1] == WIDTH


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_missing_tensor_is_refused_by_name(variant, tmp_path):
    source = saved(variant, tmp_path)
    reads = families()[SMALL[variant].family].reads
    names = [name for name in load_file(tmp_path / "model.safetensors") if ".1." in name and "norm" in name]
    lost = next(name for name in names if reads(name))
    rewrite(tmp_path, lambda tensors: {name: t for name, t in tensors.items() if name != lost})
    with pytest.raises(WeightsError, match=lost.partition(".1.")[2].replace(".", r"\.")):
        pegbox.load_backbone(source)


@pytest.mark.parametrize("variant", ONE_EACH)
def test_a_tensor_of_another_shape_is_refused(variant, tmp_path):
    source = saved(variant, tmp_path)
    rewrite(tmp_path, lambda tensors: {n: t[:-1].clone() if ".1." in n and t.ndim else t for n, t in tensors.items()})
    with pytest.raises(WeightsError):
        pegbox.load_backbone(source)


def test_a_damaged_file_is_refused(tmp_path):
    source = saved("ast", tmp_path)
    file = tmp_path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(WeightsError, match="cannot be loaded"):
        pegbox.load_backbone(source)


def test_a_folder_without_weights_is_refused(tmp_path):
    source = saved("ast", tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match="cannot be loaded"):
        pegbox.load_backbone(source)


@pytest.mark.parametrize("read", [pegbox.load_backbone, outline])
def test_a_folder_without_a_configuration_is_refused(read, tmp_path):
    with pytest.raises(WeightsError, match=r"no config\.json"):
        read(str(tmp_path))
    with pytest.raises(WeightsError, match=r"no config\.json"):
        read(str(tmp_path / "nowhere"))


@pytest.mark.parametrize("kind", ["bert", "no-such-network"])
def test_another_kind_of_network_is_refused(kind, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}))
    with pytest.raises(WeightsError, match=kind):
        pegbox.load_backbone(str(tmp_path))


def test_an_unreadable_configuration_is_refused(tmp_path):
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(WeightsError):
        pegbox.load_backbone(str(tmp_path))


def test_loading_leaves_the_librarys_verbosity_as_it_was(tmp_path):
    source = saved("ast", tmp_path)
    before = logging.get_verbosity()
    logging.set_verbosity_info()
    try:
        pegbox.load_backbone(source)
        assert logging.get_verbosity() == logging.INFO
    finally:
        logging.set_verbosity(before)


def wavlm_pair(first):
    """Returns one WavLM attention as the library has it, and the same with Pegbox's forward."""
    library, model = library_core("wavlm-layer-post"), backbone("wavlm-layer-post")
    index = 0 if first else 1
    return library.encoder.layers[index].attention, model.blocks[index].attention, model


def run_attention(module, x, mask, bias):
    """Returns output, gradient of the input, and gradients of the module's tensors."""
    x = x.clone().requires_grad_(True)
    module.requires_grad_(True)
    out, _, bias = module(x, attention_mask=mask, position_bias=bias)
    grads = torch.autograd.grad(
        (out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum(), [x, *module.parameters()]
    )
    return out, bias, grads


@pytest.mark.parametrize("masked", [False, True], ids=["whole", "padded"])
@pytest.mark.parametrize("first", [True, False], ids=["block0", "block1"])
def test_wavlm_attention_and_its_gradients_are_the_librarys(first, masked):
    theirs, ours, model = wavlm_pair(first)
    x = torch.randn(2, 13, WIDTH)
    mask = torch.arange(13) < torch.tensor([[13], [9]]) if masked else None
    bias = None if first else model.family.carry(model.core, 13)
    expanded = None if first else bias.expand(2, -1, -1, -1).reshape(8, 13, 13)
    out, made, grads = run_attention(ours, x, mask, bias)
    library_out, library_made, library_grads = run_attention(theirs, x, mask, expanded)
    assert_close(out, library_out, atol=1e-5, rtol=1e-4)
    assert_close(made.expand(2, -1, -1, -1).reshape(8, 13, 13), library_made)
    for own, other in zip(grads, library_grads, strict=True):
        assert_close(own, other, atol=2e-5, rtol=1e-3)
    assert grads[0].abs().max() > 1e-3
