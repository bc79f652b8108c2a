"""Methods on a caller's own `transformers` model, in the caller's own loop."""

import pytest
import torch
import transformers
from _models import DEPTH, LINEAR, RATE, SMALL, alone, backbone, differs, hooks, perturb, same, snapshot
from torch.testing import assert_close

import pegbox
from pegbox.backbones import families, find_sites, locate
from pegbox.delta import Delta, Term
from pegbox.errors import RecipeError
from pegbox.sites import around

CTC = ("Wav2Vec2ForCTC", "HubertForCTC", "WavLMForCTC", "UniSpeechForCTC", "Data2VecAudioForCTC")
CTC += ("Wav2Vec2BertForCTC", "Wav2Vec2ConformerForCTC", "SEWForCTC")
MODELS = {
    "Wav2Vec2ForCTC": "wav2vec2-group-post",
    "Wav2Vec2ForSequenceClassification": "wav2vec2-layer-pre",
    "HubertForSequenceClassification": "hubert-layer-pre",
    "HubertForCTC": "hubert-layer-post",
    "WavLMForSequenceClassification": "wavlm-group-post",
    "WavLMForCTC": "wavlm-layer-pre",
    "UniSpeechForCTC": "unispeech-group-post",
    "UniSpeechSatForSequenceClassification": "unispeech_sat-layer-pre",
    "Data2VecAudioForCTC": "data2vec",
    "Data2VecAudioForSequenceClassification": "data2vec",
    "Wav2Vec2BertForCTC": "w2v_bert",
    "Wav2Vec2BertForSequenceClassification": "w2v_bert-rotary",
    "Wav2Vec2ConformerForCTC": "wav2vec2_conformer-relative",
    "Wav2Vec2ConformerForSequenceClassification": "wav2vec2_conformer-rotary",
    "SEWForCTC": "sew",
    "SEWForSequenceClassification": "sew",
    "WhisperForAudioClassification": "whisper",
    "WhisperModel": "whisper",
    "ASTForAudioClassification": "ast",
}
SPEECH = tuple(name for name, variant in MODELS.items() if not variant.startswith(("whisper", "ast", "w2v_bert")))
SPECS = ("lora(rank=2)", "bottleneck(size=4)", "bitfit", f"lora(rank=2, at={LINEAR}) + bitfit")
EXACT, ROUNDING = {"atol": 0, "rtol": 0}, {"atol": 1e-5, "rtol": 1e-4}  # a bare WavLM changes its kernel
every_model = pytest.mark.parametrize("name", MODELS)


def bare(name):
    """Returns a caller's model in training mode, its weights perturbed."""
    torch.manual_seed(5)
    model = getattr(transformers, name)(SMALL[MODELS[name]].config())
    perturb(model)
    return model.train()


def inputs(name):
    """Returns the model's own arguments for a batch of two clips."""
    generator = torch.Generator().manual_seed(2)
    if MODELS[name] == "whisper":
        mel = {"input_features": torch.randn(2, 20, 300, generator=generator)}
        return mel | {"decoder_input_ids": torch.tensor([[1, 4], [1, 7]])} if name == "WhisperModel" else mel
    if MODELS[name] == "ast":
        return {"input_values": torch.randn(2, 128, 128, generator=generator)}
    if MODELS[name].startswith("w2v_bert"):
        mask = torch.arange(24) < torch.tensor([[24], [16]])
        return {"input_features": torch.randn(2, 24, 40, generator=generator), "attention_mask": mask.long()}
    mask = torch.arange(RATE // 2) < torch.tensor([[RATE // 2], [RATE // 3]])
    return {"input_values": torch.randn(2, RATE // 2, generator=generator) * mask, "attention_mask": mask.long()}


def loss_of(name, model):
    """Returns the model's own loss; WhisperModel has none."""
    if name == "WhisperModel":
        return model(**inputs(name)).last_hidden_state.square().mean()
    labels = torch.tensor([[1, 2, 3], [4, 5, 6]]) if name in CTC else torch.tensor([1, 3])
    return model(**inputs(name), labels=labels).loss


def answer(name, model):
    """Returns what the model says in eval mode, and puts it back in training mode."""
    with torch.no_grad():
        out = model.eval()(**inputs(name))
    model.train()
    return out.last_hidden_state if name == "WhisperModel" else out.logits


def core_of(model):
    return locate(model, families())[1]


def head_of(model):
    inside = {id(tensor) for tensor in core_of(model).parameters()}
    return {name: tensor for name, tensor in model.named_parameters() if id(tensor) not in inside}


def layerdrop(core):
    return core.layerdrop if "layerdrop" in vars(core) else getattr(core.config, "layerdrop", 0.0)


def descend(name, model, delta, steps):
    """Takes steps as a caller would; returns the losses and the delta's largest gradients."""
    optimiser = torch.optim.AdamW([*delta.parameters(), *head_of(model).values()], lr=5e-3)
    largest = {key: 0.0 for key, _ in delta.named_parameters()}
    losses = []
    for _ in range(steps):
        loss = loss_of(name, model)
        optimiser.zero_grad()
        loss.backward()
        for key, tensor in delta.named_parameters():
            largest[key] = max(largest[key], float(tensor.grad.abs().max()))
        optimiser.step()
        losses.append(float(loss.detach()))
    return losses, largest


@every_model
@pytest.mark.parametrize("spec", SPECS)
def test_a_callers_loop_trains_delta_and_head_only_and_detach_restores(name, spec):
    model = bare(name)
    core, head = core_of(model), head_of(model)
    before, tensors, hanging = answer(name, model), snapshot(core), hooks(model)
    flags = {key: tensor.requires_grad for key, tensor in model.named_parameters()}
    delta = pegbox.attach(model, spec)
    assert_close(before, answer(name, model), **(ROUNDING if "WavLM" in name else EXACT))
    assert all(tensor.requires_grad == flags[key] for key, tensor in head.items())
    _, largest = descend(name, model, delta, 2)
    assert [key for key, size in largest.items() if size == 0.0 and ":k:bias" not in key] == []
    assert not torch.equal(before, answer(name, model))
    kept = {id(tensor) for tensor in delta.parameters()}
    assert all(tensor.grad is None for tensor in core.parameters() if id(tensor) not in kept)
    assert all(tensor.grad is not None for tensor in head.values() if tensor.requires_grad)
    delta.detach()
    assert same(tensors, snapshot(core))
    assert hooks(model) == hanging
    assert {key: tensor.requires_grad for key, tensor in model.named_parameters()} == flags


@every_model
def test_detach_gives_the_same_answer_bit_for_bit(name):
    model = bare(name)
    before = answer(name, model)
    delta = pegbox.attach(model, "lora(rank=2) + bottleneck(size=4) + bitfit")
    with torch.no_grad():
        for tensor in delta.parameters():
            tensor.add_(0.1)
    assert not torch.equal(before, answer(name, model))
    delta.detach()
    assert torch.equal(before, answer(name, model))


@every_model
def test_the_loss_falls(name):
    model = bare(name)
    losses, _ = descend(name, model, pegbox.attach(model, f"lora(rank=4, at={LINEAR})"), 12)
    assert sum(losses[-3:]) < 0.95 * sum(losses[:3])


@every_model
def test_merged_is_attached(name):
    model = bare(name)
    delta = pegbox.attach(model, f"lora(rank=2, at={LINEAR}) + bitfit")
    with torch.no_grad():
        for tensor in delta.parameters():
            tensor.add_(torch.randn_like(tensor) * 0.05)
    attached = answer(name, model)
    delta.merge()
    assert_close(answer(name, model), attached, atol=5e-5, rtol=1e-3)


@every_model
def test_every_site_of_a_callers_model_is_real(name):
    model = bare(name)
    family, core = locate(model, families())
    before = answer(name, model)
    for site in find_sites(family, core, None).table:
        delta = Delta(core, [Term("test", (around(site, Nudge()),))], ready=family.ready)
        assert not torch.equal(before, answer(name, model)), site.name
        delta.detach()
    assert torch.equal(before, answer(name, model))


class Nudge(torch.nn.Module):
    """A change that no layer norm and no softmax can hide."""

    def forward(self, x, y):
        if isinstance(y, tuple):
            return tuple(part + 0.3 * part.flip(-2) for part in y)
        return y * (1 + 0.3 * torch.linspace(-1, 1, y.shape[-1]))


@pytest.mark.parametrize("name", SPEECH)
def test_the_front_end_is_not_back_propagated_and_no_layer_is_dropped_while_attached(name):
    model = bare(name)
    core = core_of(model)
    assert (core.feature_extractor._requires_grad, core.config.layerdrop) == (True, 0.1)
    delta = pegbox.attach(model, "lora(rank=2)")
    assert (core.feature_extractor._requires_grad, core.config.layerdrop) == (False, 0.0)
    assert not core.feature_extractor(inputs(name)["input_values"]).requires_grad
    delta.detach()
    assert (core.feature_extractor._requires_grad, core.config.layerdrop) == (True, 0.1)
    pegbox.attach(model, "lora(rank=2)").merge()
    assert (core.feature_extractor._requires_grad, core.config.layerdrop) == (True, 0.1)


@pytest.mark.parametrize("name", [name for name, variant in MODELS.items() if variant == "whisper"])
def test_whispers_layerdrop_is_off_while_attached(name):
    model = bare(name)
    core = core_of(model)
    assert core.layerdrop == 0.2
    delta = pegbox.attach(model, "lora(rank=2)")
    assert core.layerdrop == 0.0
    delta.detach()
    assert core.layerdrop == 0.2


def test_a_batch_norm_keeps_its_statistics_while_attached_and_its_mode_afterwards():
    name = "Wav2Vec2ConformerForCTC"
    model = bare(name)
    norm = core_of(model).encoder.layers[0].conv_module.batch_norm
    before, delta = norm.running_mean.clone(), pegbox.attach(model, "lora(rank=2)")
    loss_of(name, model)
    assert torch.equal(before, norm.running_mean)
    delta.detach()
    assert norm.training
    loss_of(name, model)
    assert not torch.equal(before, norm.running_mean)


def test_a_bare_wavlm_gets_the_librarys_attention_back():
    model = bare("WavLMForCTC")
    attention = core_of(model).encoder.layers[0].attention
    library = type(attention).forward
    delta = pegbox.attach(model, "lora(rank=2)")
    assert "forward" in vars(attention)
    delta.detach()
    assert "forward" not in vars(attention)
    assert attention.forward.__func__ is library


@torch.no_grad()
def test_attaching_to_the_core_of_a_wavlm_backbone_leaves_the_backbone_whole():
    model = backbone("wavlm-layer-pre")
    before = model(*alone(4000))
    pegbox.attach(model.core, "lora(rank=2)").detach()
    assert not differs(before, model(*alone(4000)))
    delta = pegbox.attach(model, "lora(rank=2)")
    for tensor in delta.parameters():
        tensor.add_(0.1)
    assert differs(before, model(*alone(4000)))


@every_model
def test_a_refused_attach_changes_nothing(name):
    model = bare(name)
    tensors, hanging, drop = snapshot(model), hooks(model), layerdrop(core_of(model))
    delta = pegbox.attach(model, "lora(rank=2)")
    with pytest.raises(RecipeError, match="already carries"):
        pegbox.attach(model, "bitfit")
    delta.detach()
    for spec in ("lora(rank=99)", 'lora(at=["norm1"])', "nothing"):
        with pytest.raises(RecipeError):
            pegbox.attach(model, spec)
    assert same(tensors, snapshot(model))
    assert (hooks(model), layerdrop(core_of(model))) == (hanging, drop)
    assert any(tensor.requires_grad for tensor in core_of(model).parameters())


@torch.no_grad()
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("role", ["enter", "leave"])
def test_the_librarys_hidden_states_show_edits_whether_asked_for_before_or_after(name, role):
    asked, fresh = bare(name).eval(), bare(name).eval()
    core_of(asked)(**encoder_inputs(name), output_hidden_states=True)  # the library hangs its hooks now, for good
    states = []
    for model in (asked, fresh):
        torch.manual_seed(1)
        delta = pegbox.attach(model, f'bottleneck(size=4, at=["{role}"])')
        for tensor in delta.parameters():
            tensor.add_(torch.randn_like(tensor) * 0.3)
        states.append(core_of(model)(**encoder_inputs(name), output_hidden_states=True).hidden_states)
    assert len(states[0]) == len(states[1]) == DEPTH + 1
    for first, second in zip(*states, strict=True):
        assert torch.equal(first, second)


def encoder_inputs(name):
    return {key: value for key, value in inputs(name).items() if key != "decoder_input_ids"}


def test_a_model_without_a_known_encoder_is_refused():
    config = transformers.BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    with pytest.raises(RecipeError, match="BertModel holds no network that Pegbox knows; known: ASTModel"):
        pegbox.attach(transformers.BertModel(config), "lora")
    with pytest.raises(RecipeError, match="Linear holds no network"):
        pegbox.attach(torch.nn.Linear(2, 2), "lora")


@pytest.mark.parametrize(
    "name", ["Wav2Vec2ForCTC", "WavLMForCTC", "WhisperForAudioClassification", "Wav2Vec2ConformerForCTC"]
)
def test_gradient_checkpointing_gives_the_same_gradients(name):
    gradients = []
    for checkpointing in (False, True):
        model = bare(name)
        for dropout in (module for module in model.modules() if isinstance(module, torch.nn.Dropout)):
            dropout.p = 0.0
        if checkpointing:
            model.activation_checkpointing_enable()
            assert core_of(model).get_submodule(locate(model, families())[0].blocks)[0].gradient_checkpointing
        torch.manual_seed(1)
        delta = pegbox.attach(
            model, 'lora(rank=2, at=["up"]) + bottleneck(size=4, at=["ffn", "leave"]) + bitfit(at=["o"])'
        )
        with torch.no_grad():
            for tensor in delta.parameters():
                tensor.add_(torch.randn_like(tensor) * 0.1)
        torch.manual_seed(2)
        gradients.append(torch.autograd.grad(loss_of(name, model), list(delta.parameters())))
    for plain, again in zip(*gradients, strict=True):
        assert_close(plain, again, atol=1e-6, rtol=1e-4)
