"""The networks that make speech of text: their attention, their places, their counts, and how they are loaded."""

import json

import pytest
import torch
import transformers
from _models import hooks, perturb, same, snapshot
from _synthesis import CONFIGS, DECODER, ENCODER, inputs, loss_of, network
from torch.testing import assert_close
from typer.testing import CliRunner

import pegbox
from pegbox.backbones import find_sites, load_synthesis, tables
from pegbox.cli import app
from pegbox.delta import Delta, Term
from pegbox.errors import RecipeError, WeightsError
from pegbox.sites import around
from pegbox.training.plans import parts, plan

TEXT = ("input_ids", "attention_mask")
every = pytest.mark.parametrize("name", CONFIGS)


class Same(torch.nn.Module):
    """Leaves a pair as it is."""

    def forward(self, x, y):
        return y


def undropped(model):
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        if "dropout" in vars(module):
            module.dropout = 0.0


@every
def test_the_attention_with_an_editable_memory_gives_the_librarys_numbers(name):
    model, table = network(name), tables()[name]
    undropped(model)
    untouched = Delta(model, [], ready=table.ready)  # LayerDrop is off and batch norms are still on both sides
    before = loss_of(name, model)
    untouched.detach()
    edits = tuple(around(site, Same()) for site in find_sites(table, model, None)("memory"))
    Delta(model, [Term("test", edits)], ready=table.ready)
    assert len(edits) == (ENCODER if name == "vits" else ENCODER + DECODER)
    assert_close(loss_of(name, model), before, atol=1e-5, rtol=1e-5)


def test_a_prefix_has_no_place_beside_the_near_places_of_vits():
    model = network("vits").eval()
    attention = model.text_encoder.encoder.layers[0].attention
    delta = pegbox.attach(model, "prefix(length=3, deviation=1)")
    wide, (time, heads, reach) = torch.randn(1, 6, 32), (6, 4, attention.window_size)
    own = delta.edits["prefix:encoder/0/memory"].own.view(2, 3, heads, -1)

    def by_head(linear):
        return linear(wide).view(time, heads, -1)

    query, key, value = map(by_head, (attention.q_proj, attention.k_proj, attention.v_proj))
    said = torch.zeros(time, heads, 8)
    for head in range(heads):
        for now in range(time):
            near = [(then, then - now + reach) for then in range(time)]
            places = [attention.emb_rel_k[0, at] if 0 <= at <= 2 * reach else torch.zeros(8) for _, at in near]
            added = [attention.emb_rel_v[0, at] if 0 <= at <= 2 * reach else torch.zeros(8) for _, at in near]
            keys = torch.cat([own[0, :, head], key[:, head] + torch.stack(places)])
            values = torch.cat([own[1, :, head], value[:, head] + torch.stack(added)])
            said[now, head] = (keys @ query[now, head] / 8**0.5).softmax(0) @ values
    assert_close(attention(wide)[0], attention.out_proj(said.flatten(1))[None])


@pytest.mark.parametrize("stack", ["encoder", "decoder"])
def test_prompts_of_fastspeech2_are_frames_before_the_others(stack):
    """What a block makes of prompts and frames together, places and mask among them, less the prompts' own places."""
    model, x = network("fastspeech2_conformer").eval(), torch.randn(2, 6, 32)
    holder, real = model.get_submodule(stack), torch.arange(6) < torch.tensor([[6], [4]])
    block, mask = holder.conformer_layers[1], real[:, None].long()
    delta = pegbox.attach(model, 'deep_prompt(length=3, start="ones")')
    perturb(delta)
    prompts = delta.edits[f"deep_prompt:{stack}/1/enter"].frames.detach().expand(2, -1, -1)
    said = block(x, holder.pos_enc(x)[1], mask)[0].detach()
    delta.detach()
    wider, open_ = torch.cat([prompts, x], 1), torch.cat([torch.ones(2, 1, 3, dtype=torch.long), mask], 2)
    assert_close(said, block(wider, holder.pos_enc(wider)[1], open_)[0][:, 3:].detach())


@pytest.mark.parametrize(
    ("name", "stack"), [("speecht5", "speecht5.encoder.wrapped_encoder"), ("vits", "text_encoder.encoder")]
)
def test_prompts_of_a_text_encoder_are_units_before_the_others(name, stack):
    """The same for the blocks that read texts: distances, masks and what the FFN's convolutions see go with them."""
    model, x = network(name).eval(), torch.randn(2, 6, 32)
    holder, real = model.get_submodule(stack), torch.arange(6) < torch.tensor([[6], [4]])
    block = holder.layers[1]

    def passed(x, real):
        shut = torch.where(real, 0.0, torch.finfo(torch.float32).min)[:, None, None].expand(-1, -1, x.shape[1], -1)
        own = {"position_bias": holder.embed_positions(x)} if name == "speecht5" else {"padding_mask": real[..., None]}
        return block(x, attention_mask=shut, **own)[0].detach()

    delta = pegbox.attach(model, 'deep_prompt(length=3, start="ones")')
    perturb(delta)
    prompts = delta.edits["deep_prompt:encoder/1/enter"].frames.detach().expand(2, -1, -1)
    said = passed(x, real)
    delta.detach()
    wider, open_ = torch.cat([prompts, x], 1), torch.cat([torch.ones(2, 3, dtype=torch.bool), real], 1)
    assert_close(said, passed(wider, open_)[:, 3:])


@pytest.mark.parametrize("name", ["speecht5", "vits"])
def test_prompts_that_pass_through_blocks_see_no_padding(name):
    model, given = network(name).eval(), inputs(name)
    delta = pegbox.attach(model, 'shallow_prompt(length=3, start="ones")')
    perturb(delta)
    stacks = {"speecht5": "speecht5.encoder.wrapped_encoder", "vits": "text_encoder.encoder"}
    made = []
    model.get_submodule(stacks[name]).layers[1].register_forward_hook(lambda _, args, out: made.append(out[0].detach()))
    with torch.no_grad():
        model(**given)
        model(**{key: tensor[1:, :4] if key in TEXT else tensor[1:] for key, tensor in given.items()})
    assert_close(made[0][1:, :4], made[1])


def test_speecht5_says_frame_by_frame_what_it_is_trained_to_say_at_once():
    torch.manual_seed(7)
    config = CONFIGS["speecht5"]()
    config.speech_decoder_prenet_dropout = 0.0  # it drops when speaking too
    model = transformers.SpeechT5ForTextToSpeech(config)
    perturb(model)
    spec = "prefix(length=2, deviation=1) + lora(rank=2) + bottleneck(size=4)"
    delta = pegbox.attach(model.eval(), spec)
    perturb(delta)
    for layer in model.speech_decoder_postnet.layers:  # frames are fed back before it
        layer.batch_norm.weight.zero_(), layer.batch_norm.bias.zero_()
    given = {key: tensor[:1] for key, tensor in inputs("speecht5").items() if key != "labels"}
    with torch.no_grad():
        spoken = model.generate_speech(**given, threshold=2.0, maxlenratio=2.0)[None]
        fed = torch.cat([torch.zeros(1, 1, 8), spoken[:, 1:-1:2]], 1)
        at_once = model(**given, decoder_input_values=fed).spectrogram
    assert spoken.shape == (1, 12, 8)
    assert_close(at_once, spoken, atol=1e-5, rtol=1e-5)


def with_vocoder():
    vocoder = transformers.FastSpeech2ConformerHifiGanConfig(
        model_in_dim=8,
        upsample_initial_channel=16,
        upsample_rates=[4, 4],
        upsample_kernel_sizes=[8, 8],
        resblock_kernel_sizes=[3],
        resblock_dilation_sizes=[[1, 3]],
    )
    return transformers.FastSpeech2ConformerWithHifiGanConfig(
        model_config=CONFIGS["fastspeech2_conformer"]().to_dict(), vocoder_config=vocoder.to_dict()
    )


def test_the_network_beside_its_vocoder_is_found_counted_and_given_back(tmp_path):
    torch.manual_seed(7)
    model = transformers.FastSpeech2ConformerWithHifiGan(with_vocoder()).eval()
    model.save_pretrained(tmp_path)
    text = torch.tensor([[3, 4, 5, 6]])
    table, loaded = load_synthesis(str(tmp_path))
    assert (table.name, type(loaded)) == ("fastspeech2_conformer", type(model))
    tensors, hanging, before = snapshot(loaded), hooks(loaded), loaded(text).waveform
    assert torch.equal(before, model(text).waveform)
    delta = pegbox.attach(loaded, "prefix(length=2, deviation=1) + bottleneck(size=4)")
    assert not torch.equal(before, loaded(text).waveform)
    counted = parts(str(tmp_path), "prefix(length=2) + bottleneck(size=4)")
    assert counted.backbone == sum(tensor.numel() for tensor in model.model.parameters())
    assert counted.total == sum(tensor.numel() for tensor in delta.parameters())
    delta.detach()
    assert same(tensors, snapshot(loaded)) and hooks(loaded) == hanging


@every
def test_a_checkpoint_is_loaded_whole_or_refused_by_the_tensor_it_lacks(name, tmp_path):
    model = network(name)
    model.save_pretrained(tmp_path)
    table, loaded = load_synthesis(str(tmp_path))
    assert table is tables()[name] and not loaded.training
    assert same(snapshot(model), snapshot(loaded))
    lacking = model.state_dict()
    gone = next(key for key in lacking if "ffn" in key or "feed_forward" in key)
    model.save_pretrained(tmp_path, state_dict={key: lacking[key] for key in lacking if key != gone})
    with pytest.raises(WeightsError, match=f"1 tensors of {name} are not in the checkpoint.*feed_forward"):
        load_synthesis(str(tmp_path))


def test_an_encoder_is_refused_where_speech_is_to_be_made():
    with pytest.raises(RecipeError, match="tiny: hubert is an encoder, which makes no speech; choose"):
        load_synthesis("tiny")


def test_norms_before_in_one_stack_and_behind_in_the_other_are_refused():
    config = CONFIGS["fastspeech2_conformer"]()
    config.encoder_normalize_before = True
    with torch.device("meta"):
        core = transformers.FastSpeech2ConformerModel(config)
    with pytest.raises(RecipeError, match="encoder_normalize_before=True, decoder_normalize_before=False"):
        pegbox.attach(core, "lora")


@pytest.mark.parametrize("spec", ["ia3", 'vera(at=["q", "up"])', 'lora_fa(at=["ffn"])', 'hydra(at=["down"])'])
@pytest.mark.parametrize("name", ["fastspeech2_conformer", "vits"])
def test_the_sites_that_a_refusal_names_would_do(name, spec):
    with pytest.raises(RecipeError, match=r"is no linear module; choose from q, k, v, o$"):
        pegbox.attach(network(name), spec)
    method = spec.partition("(")[0]
    assert len(pegbox.attach(network(name), f'{method}(at=["q", "k", "v", "o"])').tensors()) > 0


SURE = transformers.FastSpeech2ConformerConfig(
    hidden_size=256, encoder_layers=4, decoder_layers=6, encoder_linear_units=1024, decoder_linear_units=1024
)


@pytest.mark.parametrize(  # SURE (arXiv:2303.03267): 4 + 6 blocks of width 256
    ("spec", "encoder", "decoder"),
    [
        ("prefix(length=30{})", 61_440, 92_160),
        ('bottleneck(size=128, at=["leave"], activation="relu"{})', 263_680, 395_520),
        ("lora(rank=8{})", 32_768, 49_152),
        ("conv_adapter(squeeze=16{})", 43_520, 65_280),
    ],
)
def test_the_published_counts_of_synthesis(spec, encoder, decoder, tmp_path):
    SURE.save_pretrained(tmp_path)
    whole, *halves = (spec.format(blocks) for blocks in ("", ', blocks="encoder.*"', ', blocks="decoder.*"'))
    assert [parts(str(tmp_path), half).total for half in halves] == [encoder, decoder]
    said = CliRunner().invoke(app, ["params", str(tmp_path), whole, "--json"])
    assert json.loads(said.output)["total"] == encoder + decoder


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
