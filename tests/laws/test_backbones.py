"""Every backbone gives the numbers of `transformers`, the last state after the final norm."""

from dataclasses import replace

import pytest
import torch
import transformers
from _models import (
    DEPTH,
    ONE_EACH,
    RATE,
    SMALL,
    SPEECH,
    VARIANTS,
    WIDTH,
    alone,
    backbone,
    batch,
    clip,
    features,
    fed,
    front,
    library_core,
    library_states,
)
from torch.testing import assert_close

from pegbox.backbones import Front, State, families
from pegbox.errors import CorpusError

CLOSE = {"atol": 2e-5, "rtol": 1e-4}  # other kernels, other orders of summation
PADDED = tuple(name for name in SPEECH if SMALL[name].padded_by_library)
GROUP = tuple(name for name in SPEECH if not SMALL[name].padded_by_library)
LENGTHS = (7000, 4000, 5333, 4000)


def test_every_family_has_a_small_network():
    missing = set(families()) - {small.family for small in SMALL.values()}
    assert not missing, f"add a small config to SMALL in tests/laws/_models.py for: {', '.join(sorted(missing))}"


@torch.no_grad()
@pytest.mark.parametrize("variant", [name for name in VARIANTS if name != "whisper"])
def test_unpadded_states_are_the_librarys(variant):
    library = library_states(library_core(variant), fed(features(variant, clip(6000, 6000))))
    own = backbone(variant)(*alone(6000))
    assert len(own) == len(library) == DEPTH + 1
    for ours, theirs in zip(own, library, strict=True):
        assert_close(ours, theirs, **CLOSE)


@torch.no_grad()
@pytest.mark.parametrize("variant", PADDED)
def test_padded_states_are_the_librarys_on_real_frames(variant):
    prepared = features(variant, *(clip(n, n) for n in LENGTHS))
    library = library_states(library_core(variant), fed(prepared), attention_mask=prepared.attention_mask)
    model = backbone(variant)
    close = CLOSE if model.family.front_is_wave else {"atol": 1e-4, "rtol": 1e-3}  # the blocks enlarge its rounding
    for ours, theirs in zip(model(*batch(*LENGTHS)), library, strict=True):
        for row, samples in enumerate(LENGTHS):
            real = model.frames(samples)
            assert_close(ours[row, :real], theirs[row, :real], **close)


@torch.no_grad()
@pytest.mark.parametrize("variant", [name for name in PADDED if not backbone(name).family.front_is_wave])
def test_padded_states_are_the_librarys_of_the_same_features(variant):
    model, prepared = backbone(variant), features(variant, *(clip(n, n) for n in LENGTHS))
    fed_to_both = model.front(*batch(*LENGTHS))
    mask = prepared.attention_mask[:, : fed_to_both.shape[1]]
    for ours, theirs in zip(
        model(*batch(*LENGTHS)), library_states(library_core(variant), fed_to_both, attention_mask=mask), strict=True
    ):
        for row, samples in enumerate(LENGTHS):
            real = model.frames(samples)
            assert_close(ours[row, :real], theirs[row, :real], atol=5e-6, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("variant", GROUP)
def test_group_norm_states_in_a_batch_are_the_librarys_of_the_clip_alone(variant):
    core, own = library_core(variant), backbone(variant)(*batch(*LENGTHS))
    for row, samples in enumerate(LENGTHS):
        library = library_states(core, features(variant, clip(samples, samples)).input_values)
        for ours, theirs in zip(own, library, strict=True):
            assert_close(ours[row, : theirs.shape[1]], theirs[0], **CLOSE)


@torch.no_grad()
@pytest.mark.parametrize("variant", GROUP)
def test_the_librarys_own_padding_moves_real_frames_of_group_norm_networks(variant):
    core = library_core(variant)
    single = features(variant, clip(4000, 4000)).input_values
    prepared = features(variant, clip(7000, 7000), clip(4000, 4000))
    padded = core(prepared.input_values, attention_mask=prepared.attention_mask).last_hidden_state[1]
    direct = core(single).last_hidden_state[0]
    assert (padded[: len(direct)] - direct).abs().max() > 1e-2


@torch.no_grad()
@pytest.mark.parametrize("variant", [name for name in VARIANTS if name.endswith("-pre")])
def test_the_last_state_of_a_pre_norm_network_is_after_the_final_norm(variant):
    model = backbone(variant)
    norm, last = model.core.encoder.layer_norm, model(*alone(6000))[-1]
    plain = (last - norm.bias) / norm.weight
    assert_close(plain.mean(-1), torch.zeros(plain.shape[:-1]), atol=1e-3, rtol=0)
    assert_close(plain.std(-1, correction=0), torch.ones(plain.shape[:-1]), atol=1e-2, rtol=0)


@torch.no_grad()
def test_a_full_whisper_clip_is_the_librarys():
    full = 3 * RATE
    library = library_states(library_core("whisper"), features("whisper", clip(full, full)).input_features)
    for ours, theirs in zip(backbone("whisper")(*alone(full)), library, strict=True):
        assert_close(ours, theirs, **CLOSE)


@torch.no_grad()
@pytest.mark.parametrize("samples", [1600, 1599, 8000, 47_680])
def test_a_short_whisper_clip_is_the_librarys_with_the_table_cut(samples):
    core, frames = library_core("whisper"), -(-samples // 320)
    core.embed_positions = torch.nn.Embedding.from_pretrained(core.embed_positions.weight[:frames])
    core.config.max_source_positions = frames
    mel = features("whisper", clip(samples, samples)).input_features[..., : 2 * frames]
    for ours, theirs in zip(backbone("whisper")(*alone(samples)), library_states(core, mel), strict=True):
        assert_close(ours, theirs, **CLOSE)


@pytest.mark.parametrize("samples", [160, 161, 400, 1599, 1600, 12_345, 47_299, 47_300, 47_999, 48_000])
def test_log_mel_is_the_extractors(samples):
    ours = backbone("whisper").front(*alone(samples))[0]
    theirs = features("whisper", clip(samples, samples)).input_features[0]
    assert ours.shape[-1] == -(-samples // 160)
    assert_close(ours, theirs[:, : ours.shape[-1]], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("samples", [1600, 1601, 47_999, 48_000])
def test_log_mel_counts_a_burst_at_the_very_end_as_the_extractor_does(samples):
    wave = clip(samples, 1) * 1e-5
    wave[-6:] = 1.0  # loudest in a window centred beyond the last frame: it sets the floor of all frames
    ours = backbone("whisper").front(wave[None], torch.tensor([samples]))[0]
    theirs = features("whisper", wave).input_features[0]
    assert_close(ours, theirs[:, : ours.shape[-1]], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("samples", [400, 559, 560, 8000, 20_720, 20_879])
def test_the_filterbank_is_the_extractors(samples):
    ours = backbone("ast").front(*alone(samples))[0]
    theirs = features("ast", clip(samples, samples)).input_values[0]
    assert_close(ours, theirs, **CLOSE)


@pytest.mark.parametrize("samples", [560, 720, 721, 4000, 8000])
def test_pairs_of_rows_are_the_extractors(samples):
    ours = backbone("w2v_bert").front(*alone(samples))[0]
    theirs = fed(features("w2v_bert", clip(samples, samples)))[0]
    windows = (samples - 400) // 160 + 1
    assert (len(ours), len(theirs)) == (windows // 2, (windows + 1) // 2)  # the library masks a row without a partner
    assert_close(ours, theirs[: len(ours)], **CLOSE)


@pytest.mark.parametrize("active", [True, False])
def test_normalisation_is_the_extractors(active):
    family = families()["hubert"]
    module = family.front(Front(RATE, {"do_normalize": active}), None)
    extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=active, return_attention_mask=True)
    clips = [clip(n, n) for n in LENGTHS]
    theirs = extractor([c.numpy() for c in clips], sampling_rate=RATE, padding=True, return_tensors="pt")
    assert_close(module(*batch(*LENGTHS))[:, : max(LENGTHS)], theirs.input_values, atol=1e-5, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("variant", VARIANTS)
def test_padded_is_unpadded(variant):
    model = backbone(variant)
    together = model(*batch(*LENGTHS))
    for row, samples in enumerate(LENGTHS):
        for padded, direct in zip(together, model(*alone(samples)), strict=True):
            assert direct.shape[1] == model.frames(samples)
            assert_close(padded[row, : direct.shape[1]], direct[0], **CLOSE)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_mask_marks_real_frames(variant):
    model = backbone(variant)
    state = model.stem(*batch(*LENGTHS))
    if model.hop is None:
        assert state.mask is None
    else:
        assert state.mask.sum(1).tolist() == [model.frames(n) for n in LENGTHS]
        assert model.stem(*alone(4000)).mask is None


@torch.no_grad()
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("start", range(DEPTH + 1))
def test_resume_is_direct_from_every_depth(variant, start):
    model = backbone(variant)
    first = model.stem(*batch(*LENGTHS))
    direct = list(model.fold(first))
    if start < DEPTH:
        resumed = list(model.fold(model.resume(direct[start], first.mask), start=start))
    else:  # the last block's output, before the final norm
        state = replace(first, x=direct[DEPTH - 1])
        resumed = list(model.fold(model.family.step(model.blocks[DEPTH - 1], state), start=DEPTH))
    assert len(resumed) == DEPTH + 1 - start
    for ours, theirs in zip(resumed, direct[start:], strict=True):
        assert torch.equal(ours, theirs)


@torch.no_grad()
@pytest.mark.parametrize("variant", ONE_EACH)
def test_the_shortest_clip_works_and_one_sample_less_is_refused(variant):
    model = backbone(variant)
    shortest = model.family.shortest(model.config)
    states = model(*alone(shortest))
    assert states[-1].shape == (1, model.frames(shortest), WIDTH)
    assert all(state.isfinite().all() for state in states)
    with pytest.raises(CorpusError, match=f"{shortest - 1} samples.*at least {shortest}"):
        model(*alone(shortest - 1))


@torch.no_grad()
@pytest.mark.parametrize("variant", ONE_EACH)
def test_the_longest_clip_works_and_one_sample_more_is_refused(variant):
    model = backbone(variant)
    longest = model.family.longest(model.config)
    if longest is None:
        assert model(*alone(4 * RATE))[-1].shape[1] == model.frames(4 * RATE)
        return
    assert model(*alone(longest))[-1].shape == (1, model.frames(longest), WIDTH)
    with pytest.raises(CorpusError, match="takes at most"):
        model(*alone(longest + 1))


def test_a_refused_clip_is_named_by_its_place_in_the_batch():
    with pytest.raises(CorpusError, match="clip 1 of the batch"):
        backbone("hubert-layer-pre")(*batch(4000, 399))


@pytest.mark.parametrize("variant", ONE_EACH)
@pytest.mark.parametrize("extra", [0, 1, 159, 160, 319, 320, 321])
def test_frames_counts_what_comes_out(variant, extra):
    model = backbone(variant)
    samples = max(400, model.family.shortest(model.config)) + extra
    assert model.stem(*alone(samples)).x.shape == (1, model.frames(samples), WIDTH)


@torch.no_grad()
@pytest.mark.parametrize("variant", [name for name in VARIANTS if "rotary" in name or "relative" in name])
def test_places_are_the_librarys_within_its_table_and_beyond(variant):
    model, core = backbone(variant), library_core(variant)
    for time in (3, 12, 13, 40):  # the small table has 12
        assert torch.equal(model.family.carry(model.core, time), core.encoder.embed_positions(torch.zeros(1, time, 8)))


@torch.no_grad()
@pytest.mark.parametrize("variant", VARIANTS)
def test_bf16_blocks_are_near_fp32(variant):
    exact, coarse = backbone(variant)(*batch(*LENGTHS)), backbone(variant, "bf16")(*batch(*LENGTHS))
    for state in coarse[:-1]:
        assert state.dtype == torch.bfloat16
    assert coarse[-1].isfinite().all()
    error = (coarse[-1].float() - exact[-1]).square().mean() / exact[-1].square().mean()
    assert 0 < error < 1e-2


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_backbone_is_frozen_and_in_eval_mode(variant):
    model = backbone(variant)
    assert not any(tensor.requires_grad for tensor in model.parameters())
    assert not any(module.training for module in model.core.modules())
    assert (model.width, model.depth, model.rate) == (WIDTH, DEPTH, front(variant).rate)


def test_a_state_without_padding_has_no_attention_mask():
    x = torch.zeros(2, 3, 4)
    assert State(x).attention_mask is None
    assert State(x, torch.ones(2, 3, dtype=torch.bool)).attention_mask.shape == (2, 1, 1, 3)
