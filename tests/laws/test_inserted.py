"""Convolutions, prefixes and prompts: published counts, and what they must do to frames, masks and attention."""

import pytest
import torch
import transformers
from _models import SPEECH, alone, backbone, batch, library_states, network, same

import pegbox
from pegbox import methods
from pegbox.backbones import Front, families, from_config
from pegbox.delta import Delta
from pegbox.errors import RecipeError

LENGTHS = (6000, 4000)


def on_meta(name, config):
    return from_config(config, Front(16_000), device="meta", family=families()[name])


BASE = transformers.Wav2Vec2Config()
LARGE = transformers.Wav2Vec2Config(
    hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096, do_stable_layer_norm=True
)


@pytest.mark.parametrize(
    ("spec", "base", "large"),
    [
        ("conv_adapter", 981_504, 3_403_776),
        ("prefix", 552_960, 1_474_560),
        ("prefix(length=10)", 184_320, 491_520),
        ('bottleneck(size=384, at=["leave"])', 7_091_712, None),
        ('bottleneck(size=512, at=["leave"])', None, 25_202_688),
        ('bottleneck(reduction=2, at=["leave"])', 7_091_712, 25_202_688),
        ('lora(at=["q", "k", "v", "o", "up", "down"])', 1_327_104, 3_538_944),
        ("deep_prompt(length=10)", 92_160, None),
    ],
)
def test_counts_of_sure(spec, base, large):
    for config, count in ((BASE, base), (LARGE, large)):
        if count is not None:
            delta = pegbox.attach(on_meta("wav2vec2", config), spec)
            assert sum(tensor.numel() for tensor in delta.parameters()) == count


def test_conv_adapters_smaller_inside_are_those_of_the_logs():
    # With the head of ten classes: 3,638,026, 3,622,666 and 3,614,986.
    head = 1025 * 256 + 257 * 10
    for reduction, count in ((4, 3_638_026), (8, 3_622_666), (16, 3_614_986)):
        delta = pegbox.attach(on_meta("wav2vec2", LARGE), f"conv_adapter(reduction={reduction})")
        assert sum(tensor.numel() for tensor in delta.parameters()) + head == count


@torch.no_grad()
def test_a_bottleneck_starts_as_the_paper_draws_it():
    torch.manual_seed(0)
    config = transformers.Wav2Vec2Config(hidden_size=1024, num_attention_heads=16, num_hidden_layers=1)
    model = from_config(config, Front(16_000), family=families()["wav2vec2"])
    spec = 'bottleneck(reduction=2, at=["leave"], activation="relu", start="paper")'
    (adapter,) = pegbox.attach(model, spec).edits.values()
    for name, tensor in adapter.named_parameters():
        assert float(tensor.std()) == pytest.approx(0.0 if name.endswith("bias") else 0.02, rel=0.01), name
    x = torch.randn(1, 500, 1024)
    assert float((adapter(x, x) - x).std()) == pytest.approx(0.205, rel=0.02)  # as measured on the published code


@torch.no_grad()
def test_the_gate_over_all_frames_is_the_one_that_padding_moves():
    def first_frames(average):
        torch.manual_seed(0)
        model = backbone("hubert-layer-pre")
        pegbox.attach(model, f'conv_adapter(squeeze=4, average="{average}", start="paper")').eval()
        short = model(*alone(LENGTHS[1]))[1][0]
        return (model(*batch(*LENGTHS))[1][1, : len(short)] - short).abs().max()

    assert first_frames("real") < 1e-4 < first_frames("all")


@torch.no_grad()
@pytest.mark.parametrize(
    "spec", ["prefix(length=3)", 'deep_prompt(length=3, start="uniform")', 'shallow_prompt(length=3, start="uniform")']
)
@pytest.mark.parametrize(
    "variant",
    [
        *("hubert-group-pre", "wav2vec2-layer-post", "whisper", "ast", "data2vec"),
        *("w2v_bert", "w2v_bert-rotary", "w2v_bert-relative"),
        *("wav2vec2_conformer-rotary", "wav2vec2_conformer-relative", "sew"),
    ],
)
def test_prompts_act_in_a_bare_model_as_in_the_fold(variant, spec):
    model, bare = backbone(variant), network(variant)
    core = bare.get_submodule(model.family.inside)
    torch.manual_seed(5)
    ours = pegbox.attach(model, spec)
    pegbox.attach(bare, spec).load_tensors(ours.tensors())
    wave, lengths = alone(6000)
    wanted = model(wave, lengths)
    front = model.front(wave, lengths)
    if variant == "whisper":
        front = torch.nn.functional.pad(front, (0, 300 - front.shape[-1]))
        model_states = model(torch.nn.functional.pad(wave, (0, 48_000 - wave.shape[1])), torch.tensor([48_000]))
        found = core(front).last_hidden_state
        assert found.shape == model_states[-1].shape
        return
    found = library_states(core, front)[-1]
    torch.testing.assert_close(found, wanted[-1], atol=1e-4, rtol=1e-3)


@torch.no_grad()
def test_an_input_prompt_is_a_border_around_the_spectrogram_also_in_a_bare_model():
    model, bare, seen = backbone("ast"), network("ast"), []
    ours = pegbox.attach(model, "input_prompt(border=3)")
    pegbox.attach(bare, "input_prompt(border=3)").load_tensors(ours.tensors())
    bare.embeddings.patch_embeddings.projection.register_forward_hook(lambda module, args, out: seen.append(args[0]))
    given = model.front(*alone(6000))  # (1, frames, bands)
    torch.testing.assert_close(bare(given).last_hidden_state, model(*alone(6000))[-1], atol=1e-4, rtol=1e-3)
    added = seen[0][0, 0].mT - given[0]  # (frames, bands)
    assert not added[3:-3, 3:-3].any()
    ends, sides = ours.tensors().values()
    torch.testing.assert_close(torch.cat([added[:3], added[-3:]]), ends.flatten(0, 1), atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.stack([added[3:-3, :3], added[3:-3, -3:]]), sides, atol=1e-5, rtol=0)


@torch.no_grad()
def test_shallow_prompts_pass_through_all_blocks_and_deep_ones_do_not():
    outs = {}
    for spec in ("shallow_prompt(length=4)", "deep_prompt(length=4)"):
        model = backbone("hubert-layer-post")
        delta = pegbox.attach(model, spec)
        for tensor in delta.parameters():
            tensor.copy_(torch.randn(tensor.shape, generator=torch.Generator().manual_seed(2)))
        outs[spec] = model(*alone(6000))
        assert sum(tensor.numel() for tensor in delta.parameters()) == 4 * 32 * (1 if "shallow" in spec else 3)
    shallow, deep = outs.values()
    assert torch.equal(shallow[1], deep[1])
    assert not torch.allclose(shallow[2], deep[2])


@pytest.mark.parametrize("spec", ["deep_prompt(length=3)", "shallow_prompt(length=3)", "unipet_spk(length=3)"])
def test_prompts_begin_as_means_of_the_frames_of_the_first_batch_in_training(spec):
    model = backbone("hubert-layer-post")
    first = model.stem(*batch(*LENGTHS))

    def edited():
        return Delta(model.core, methods.plan(methods.parse(spec), model.sites()), model.family.unused)

    delta = edited()
    every = [tensor for name, tensor in delta.named_parameters() if name.endswith("frames")]
    with torch.no_grad():
        model(*batch(*LENGTHS))
    delta.eval()
    model(*batch(*LENGTHS))
    assert every and not any(frames.any() for frames in every)
    delta.train()
    model(*batch(*LENGTHS))
    for place in range(3):
        real = [x[mask][place::3] for x, mask in zip(first.x, first.mask, strict=True)]
        torch.testing.assert_close(every[0][place].detach(), torch.cat(real).mean(0))
    begun = delta.tensors()
    assert all(frames.any() for frames in every)
    model(*alone(6000))
    assert same(begun, delta.tensors())
    delta.detach()
    again = edited().load_tensors(begun).train()
    model(*alone(6000))
    assert same(begun, again.tensors())


def test_more_prompts_than_frames_begin_as_the_mean_of_all():
    model = backbone("hubert-layer-post")
    time = model.stem(*alone(1000)).x.shape[1]
    delta = pegbox.attach(model, f"deep_prompt(length={time + 2})")
    model(*alone(1000))
    frames = next(delta.parameters()).detach()
    torch.testing.assert_close(frames[-1], frames[:time].mean(0))
    torch.testing.assert_close(frames[-1], frames[-2])


def test_frames_count_and_heads_never_see_prompts():
    model = backbone("wavlm-layer-post")
    plain = [x.shape for x in model(*batch(*LENGTHS))]
    pegbox.attach(model, "deep_prompt(length=5) + prefix(length=3) + conv_adapter(squeeze=4)")
    assert [x.shape for x in model(*batch(*LENGTHS))] == plain


@torch.no_grad()
@pytest.mark.parametrize("kind", ["mean", "first"])
def test_blocks_work_on_fewer_frames_and_states_keep_their_rate(kind):
    model = backbone("hubert-layer-post")
    plain, seen = model(*batch(*LENGTHS)), []
    pegbox.attach(model, f'downsample(factor=4, kind="{kind}")')
    model.blocks[1].attention.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(args[0].shape[1]), with_kwargs=True
    )
    states = model(*batch(*LENGTHS))
    assert seen == [-(-plain[0].shape[1] // 4)]
    assert [x.shape for x in states] == [x.shape for x in plain]
    groups = states[1][0].unfold(0, 4, 4)  # (groups, width, 4)
    assert torch.equal(groups, groups[..., :1].expand_as(groups))


def test_prompts_on_a_bare_wavlm_are_refused_with_the_reason():
    bare = network("wavlm-layer-post")
    pegbox.attach(bare, "deep_prompt(length=2)")
    with pytest.raises(RecipeError, match="need Pegbox's own fold"):
        bare(torch.randn(1, 6000))


@pytest.mark.parametrize("variant", SPEECH[:1])
@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("bottleneck(reduction=5)", r"bottleneck\(reduction=5\): does not divide the width 32 at '0.ffn'"),
        ("bottleneck(reduction=0)", "does not divide"),
        ("bottleneck(size=32, reduction=2)", r"bottleneck\(size=32, reduction=2\): give one of the two"),
        ("conv_adapter(reduction=5)", r"reduction=5\): does not divide the width 32"),
        ("conv_adapter(squeeze=64)", r"squeeze=64.*from 1 to 32"),
        ('conv_adapter(at=["frames"])', "looks across frames and must stand inside a block"),
        ("conformer_adapter(kernel=4)", "odd number"),
        ("conformer_adapter(size=0)", "from 1 to 32"),
        ("moa(experts=0)", r"moa\(experts=0, slots=1\): at least one of each"),
        ('moa(slots=2, route="dense")', "slots are those of route='soft'"),
        ("moa(size=33)", "from 1 to 32"),
        ("prefix(length=0)", "prefix: 0 prompts or keys; at least one"),
        ("deep_prompt(length=0)", "deep_prompt: 0 prompts or keys; at least one"),
        ("ipet(size=33)", "a size from 1 to 32"),
        ("front_conv_adapter(size=17)", r"at 'conv\.0' the size goes from 1 to 16"),
        ("input_prompt", "wav2vec2 has no site with a spectrogram of fixed size"),
    ],
)
def test_refusals(variant, spec, message):
    with pytest.raises(RecipeError, match=message):
        pegbox.attach(backbone(variant), spec)
