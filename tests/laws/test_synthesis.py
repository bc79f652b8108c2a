"""Methods on networks that make speech of text, in the caller's own loop: the laws of what finds its sites there."""

import pytest
import torch
import transformers
from _models import NOT_IDENTITY, hooks, perturb, same, snapshot, specs, trained_inside
from torch.testing import assert_close

import pegbox
from pegbox import methods, registry, surgery
from pegbox.backbones import find_sites, tables
from pegbox.delta import Delta, Term
from pegbox.errors import RecipeError
from pegbox.exchange import export_peft, import_peft
from pegbox.sites import Mixing, around, on, select_blocks
from pegbox.training.plans import parts, plan

WIDTH, ENCODER, DECODER = 32, 2, 3
CONFIGS = {
    "fastspeech2_conformer": lambda: transformers.FastSpeech2ConformerConfig(
        hidden_size=WIDTH,
        vocab_size=20,
        num_mel_bins=8,
        encoder_layers=ENCODER,
        decoder_layers=DECODER,
        encoder_linear_units=24,
        decoder_linear_units=24,
        decoder_kernel_size=7,
        speech_decoder_postnet_layers=2,
        speech_decoder_postnet_units=16,
        duration_predictor_channels=16,
        energy_predictor_channels=16,
        pitch_predictor_channels=16,
        pitch_predictor_layers=2,
    ),
    "speecht5": lambda: transformers.SpeechT5Config(
        hidden_size=WIDTH,
        vocab_size=20,
        num_mel_bins=8,
        encoder_layers=ENCODER,
        decoder_layers=DECODER,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=48,
        decoder_ffn_dim=48,
        encoder_layerdrop=0.3,
        decoder_layerdrop=0.2,
        speech_decoder_prenet_units=16,
        speech_decoder_postnet_layers=2,
        speech_decoder_postnet_units=16,
        speaker_embedding_dim=8,
        max_text_positions=40,
        max_speech_positions=40,
        guided_attention_loss_num_heads=2,
    ),
    "vits": lambda: transformers.VitsConfig(
        hidden_size=WIDTH,
        vocab_size=20,
        num_hidden_layers=ENCODER,
        num_attention_heads=4,
        ffn_dim=48,
        flow_size=16,
        layerdrop=0.3,
        spectrogram_bins=9,
        use_stochastic_duration_prediction=False,
        upsample_initial_channel=16,
        upsample_rates=(4, 4),
        upsample_kernel_sizes=(8, 8),
        resblock_kernel_sizes=(3,),
        resblock_dilation_sizes=((1, 3),),
        prior_encoder_num_flows=2,
        prior_encoder_num_wavenet_layers=2,
        posterior_encoder_num_wavenet_layers=1,
        duration_predictor_filter_channels=16,
    ),
}
REFUSALS = (  # of methods that have no place on a network
    *("has no site", "between the network and a head", "peft: the library is not installed", "no linear module"),
    *("only its weight and bias can be edited", "looks across frames"),
)
NO_GRADIENT = ("freed.posterior_encoder", "freed.duration_predictor")  # of VITS: only the library's training has them
every = pytest.mark.parametrize("name", CONFIGS)


def network(name):
    """Returns the same small network at every call, in training mode."""
    torch.manual_seed(7)
    model = getattr(transformers, tables()[name].network)(CONFIGS[name]())
    perturb(model)
    return model.train()


def inputs(name):
    """Returns two texts, the second one shorter, and what is to be said of them."""
    generator = torch.Generator().manual_seed(2)
    given = {
        "input_ids": torch.randint(1, 20, (2, 6), generator=generator),
        "attention_mask": (torch.arange(6) < torch.tensor([[6], [4]])).long(),
    }
    if name == "vits":
        return given
    mel = torch.randn(2, 12, 8, generator=generator)
    mel[1, 8:] = -100.0
    if name == "speecht5":
        return given | {"labels": mel, "speaker_embeddings": torch.randn(2, 8, generator=generator)}
    pitch, energy = torch.randn(2, 2, 6, 1, generator=generator)
    durations = 2 * given["attention_mask"]
    return given | {
        "spectrogram_labels": mel,
        "duration_labels": durations,
        "pitch_labels": pitch,
        "energy_labels": energy,
    }


def loss_of(name, model):
    """Returns the model's own loss; VITS has none in transformers, so the power of what it says."""
    torch.manual_seed(3)
    out = model(**inputs(name))
    return out.waveform.square().mean() if name == "vits" else out.loss


@torch.no_grad()
def answer(name, model):
    """Returns what the model says in eval mode, with the same noise at every call."""
    torch.manual_seed(3)
    out = model.eval()(**inputs(name))
    model.train()
    return out.waveform if name == "vits" else out.spectrogram


def attached(model, spec):
    """Attaches; a network without the sites of a method is no failure of either."""
    try:
        return pegbox.attach(model, spec)
    except RecipeError as refusal:
        if not any(reason in str(refusal) for reason in REFUSALS):
            raise
        pytest.skip(str(refusal))


def promises_identity(spec):
    calls = registry.parse(spec)
    drawn = [option for call in calls for option in call.options if option[0] == "start" and option[1] != "zeros"]
    return not (drawn or NOT_IDENTITY & {call.name for call in calls})


def blind(key):
    """Returns whether exact arithmetic gives this tensor no gradient: the bias of a key."""
    found = key.replace("/", ".").replace(":", ".").split(".")
    return "bias" in found and bool({"k", "k_proj", "linear_k"} & set(found))


def descend(name, model, delta):
    """Takes two steps as a caller would; returns the largest gradient of each trained tensor."""
    trained = dict(delta.named_parameters())
    largest = dict.fromkeys(trained, 0.0)
    optimiser = torch.optim.AdamW([*trained.values(), torch.nn.Parameter(torch.zeros(1))], lr=1e-2)
    for _ in range(2 if trained else 0):
        optimiser.zero_grad()
        loss_of(name, model).backward()
        for key, tensor in trained.items():
            largest[key] = max(largest[key], 0.0 if tensor.grad is None else float(tensor.grad.abs().max()))
        optimiser.step()
    return largest


@every
@pytest.mark.parametrize("spec", specs())
def test_the_laws_of_a_method(name, spec, tmp_path):
    model = network(name)
    tensors, hanging, before = snapshot(model), hooks(model), answer(name, model)
    delta = attached(model, spec)
    if promises_identity(spec):
        assert torch.equal(before, answer(name, model))
    largest = descend(name, model, delta)
    dead = [key for key, size in largest.items() if size == 0.0 and not blind(key)]
    assert [key for key in dead if not key.startswith(NO_GRADIENT)] == []
    trained = {id(tensor) for tensor in delta.parameters()}
    assert all(tensor.grad is None for tensor in model.parameters() if id(tensor) not in trained)
    frozen = [tensor for tensor in model.parameters() if id(tensor) not in trained and not trained_inside(tensor)]
    assert not any(tensor.requires_grad for tensor in frozen)
    learnt = answer(name, model)
    surgery.save(delta, tmp_path / "delta.safetensors")
    again = network(name)
    surgery.load(pegbox.attach(again, spec), tmp_path / "delta.safetensors")
    assert torch.equal(learnt, answer(name, again))
    delta.detach()
    assert same(tensors, snapshot(model))
    assert hooks(model) == hanging
    assert torch.equal(before, answer(name, model))


class Nudge(torch.nn.Module):
    """A change that no layer norm and no softmax can hide, to outputs, weights and pairs of key and value."""

    def forward(self, x, y=None):
        y = x if y is None else y
        if isinstance(y, tuple):
            return tuple(part + 0.3 * part.flip(-2) for part in y)
        return y * (1 + 0.3 * torch.linspace(-1, 1, y.shape[-1]))


@every
def test_every_site_is_real(name):
    model, table = network(name), tables()[name]
    before = answer(name, model)
    for site in find_sites(table, model, None).table:
        edit = on(site, "weight", Nudge()) if site.place == "weights" else around(site, Nudge())
        delta = Delta(model, [Term("test", (edit,))], ready=table.ready)
        assert not torch.equal(before, answer(name, model)), site.name
        delta.detach()
    assert torch.equal(before, answer(name, model))


class Same(torch.nn.Module):
    """Leaves a pair as it is."""

    def forward(self, x, y):
        return y


def test_the_attention_with_an_editable_memory_gives_the_librarys_numbers():
    name = "fastspeech2_conformer"
    model, table = network(name), tables()[name]
    for dropout in (module for module in model.modules() if isinstance(module, torch.nn.Dropout)):
        dropout.p = 0.0
    untouched = Delta(model, [], ready=table.ready)  # the batch norms are held still on both sides
    before = loss_of(name, model)
    untouched.detach()
    edits = tuple(around(site, Same()) for site in find_sites(table, model, None)("memory"))
    Delta(model, [Term("test", edits)], ready=table.ready)
    assert len(edits) == ENCODER + DECODER
    assert_close(loss_of(name, model), before, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("blocks", "chosen"),
    [
        ("encoder.*", (0, 1)),
        ("decoder.*", (2, 3, 4)),
        ("decoder.-1", (4,)),
        ("encoder.1:, decoder.:2", (1, 2, 3)),
        ("0,decoder.1", (0, 3)),
        ("*", (0, 1, 2, 3, 4)),
    ],
)
def test_blocks_are_chosen_by_stack(blocks, chosen):
    stacks = {"encoder": range(2), "decoder": range(2, 5)}
    assert select_blocks(blocks, 5, stacks) == chosen


@pytest.mark.parametrize("blocks", ["middle.*", "encoder.2", "decoder.", "decoder.x", "decoder.1:2:3", ".0"])
def test_a_stack_that_is_not_there_is_refused(blocks):
    with pytest.raises(RecipeError, match=r"no block or range.*'encoder\.\*', 'decoder\.\*'"):
        select_blocks(blocks, 5, {"encoder": range(2), "decoder": range(2, 5)})


def test_a_stack_is_tuned_alone_and_its_tensors_bear_its_name():
    delta = pegbox.attach(network("speecht5"), 'lora(rank=2, blocks="decoder.1:")')
    assert {key.split(":")[1].rpartition("/")[0] for key in delta.tensors()} == {"decoder/1", "decoder/2"}
    with pytest.raises(RecipeError, match=r"'decoder\.\*' is no block or range of a network with blocks 0 to 1"):
        pegbox.attach(network("vits"), 'lora(rank=2, blocks="decoder.*")')


def test_nothing_looks_ahead_in_a_decoder_that_speaks_frame_by_frame():
    model = network("speecht5")
    tensors, hanging = snapshot(model), hooks(model)
    with pytest.raises(RecipeError, match=r"Convolutions looks across frames, at 'decoder\.\d\.leave' also at frames"):
        pegbox.attach(model, "conv_adapter(squeeze=4)")
    assert same(tensors, snapshot(model)) and hooks(model) == hanging
    pegbox.attach(model, 'conv_adapter(squeeze=4, blocks="encoder.*")')


@every
def test_methods_that_look_across_frames_are_told_which_are_real(name):
    model = network(name)
    delta = pegbox.attach(model, 'conv_adapter(squeeze=4, blocks="encoder.*")')
    if name == "fastspeech2_conformer":
        delta.detach()
        delta = pegbox.attach(model, "conv_adapter(squeeze=4)")
    loss_of(name, model)
    told = [module.real.sum(1).tolist() for module in delta.modules() if isinstance(module, Mixing)]
    assert told == [[6, 4]] * ENCODER + [[12, 8]] * (len(told) - ENCODER)


@pytest.mark.parametrize(
    ("name", "spec", "message"),
    [
        (
            "fastspeech2_conformer",
            "deep_prompt",
            "fastspeech2_conformer has no site 'enter'; it has q, k, v, o, memory",
        ),
        ("speecht5", "prefix", "speecht5 has no site 'memory'"),
        ("vits", "prefix", "vits has no site 'memory'"),
        ("vits", 'bottleneck(at=["up"])', r"'encoder\.0\.up' gives \(batch, channels, time\), and only its weight"),
        ("vits", "chapter", "vits has no site 'conv'"),
    ],
)
def test_what_has_no_place_is_refused(name, spec, message):
    with pytest.raises(RecipeError, match=message):
        pegbox.attach(network(name), spec)


@every
def test_batch_norms_are_still_and_no_layer_is_dropped_while_attached(name):
    model = network(name)
    rates = {key: vars(module)["layerdrop"] for key, module in model.named_modules() if "layerdrop" in vars(module)}
    assert (rates == {}) == (name == "fastspeech2_conformer")
    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm1d)]
    before = [norm.running_mean.clone() for norm in norms]
    delta = pegbox.attach(model, "lora(rank=2)")
    loss_of(name, model)
    assert all(torch.equal(old, norm.running_mean) for old, norm in zip(before, norms, strict=True))
    assert all(model.get_submodule(key).layerdrop == 0.0 for key in rates)
    delta.detach()
    assert {key: model.get_submodule(key).layerdrop for key in rates} == rates
    assert all(norm.training for norm in norms)


@every
def test_peft_folders_and_merging(name, tmp_path):
    model, fresh = network(name), network(name)
    delta = pegbox.attach(model, 'lora(rank=2, blocks="-2:") + lora(rank=2, at=["o"])')
    with torch.no_grad():
        for tensor in delta.parameters():
            tensor.add_(torch.randn_like(tensor) * 0.02)
    learnt = answer(name, model)
    export_peft(delta, model, tmp_path / "peft")
    taken = import_peft(tmp_path / "peft", fresh)
    pegbox.attach(fresh, taken.method).load_tensors(taken.tensors)
    assert_close(answer(name, fresh), learnt)
    delta.merge()
    assert_close(answer(name, model), learnt, atol=1e-4, rtol=1e-3)


def test_norms_before_in_one_stack_and_behind_in_the_other_are_refused():
    config = CONFIGS["fastspeech2_conformer"]()
    config.encoder_normalize_before = True
    with torch.device("meta"):
        core = transformers.FastSpeech2ConformerModel(config)
    with pytest.raises(RecipeError, match="encoder_normalize_before=True, decoder_normalize_before=False"):
        pegbox.attach(core, "lora")


SURE = transformers.FastSpeech2ConformerConfig(
    hidden_size=256, encoder_layers=4, decoder_layers=6, encoder_linear_units=1024, decoder_linear_units=1024
)


@pytest.mark.parametrize(  # SURE (arXiv:2303.03267): 4 + 6 blocks of width 256
    ("spec", "encoder", "both"),
    [
        ("prefix(length=30)", 61_440, 153_600),
        ('bottleneck(size=128, at=["leave"], activation="relu")', 263_680, 659_200),
        ("lora(rank=8)", 32_768, 81_920),
        ("conv_adapter", 43_520, 108_800),
    ],
)
def test_the_published_counts_of_synthesis(spec, encoder, both):
    table = tables()["fastspeech2_conformer"]
    with torch.device("meta"):
        sites = find_sites(table, transformers.FastSpeech2ConformerModel(SURE), None)
        (term,) = methods.plan(methods.parse(spec), sites)
    sizes = {edit.site.name: sum(tensor.numel() for tensor in edit.module.parameters()) for edit in term.edits}
    assert sum(size for place, size in sizes.items() if place.startswith("encoder.")) == encoder
    assert sum(sizes.values()) == both


@every
def test_parameters_are_counted_without_weights_and_no_recipe_takes_it_for_an_encoder(name, tmp_path):
    CONFIGS[name]().save_pretrained(tmp_path)
    counted = parts(str(tmp_path), "lora(rank=2)")
    model = network(name)
    assert counted.family == name
    assert counted.backbone == sum(tensor.numel() for tensor in model.parameters())
    assert counted.total == sum(tensor.numel() for tensor in pegbox.attach(model, "lora(rank=2)").parameters())
    refused = f"{name} is a synthesis network: it reads text, not waveforms, and cannot be the encoder of a recipe"
    with pytest.raises(RecipeError, match=refused):
        pegbox.load_backbone(str(tmp_path))
    task, corpus = 'classify(label="word")', "synthetic_keywords"
    with pytest.raises(RecipeError, match=refused):
        plan(pegbox.Recipe(backbone=str(tmp_path), method="lora", task=task, corpus=corpus))
