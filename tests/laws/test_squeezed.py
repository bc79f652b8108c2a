"""SEW in its other forms: squeezed threefold, an odd positional kernel, no map behind the front-end, no map at all."""

import pytest
import torch
import transformers
from _models import SMALL, WIDTH, alone, batch, front, library_states, perturb
from torch.testing import assert_close

import pegbox
from pegbox.backbones import Backbone, families
from pegbox.errors import CorpusError

LENGTHS = (7000, 4000, 5333, 4400)  # 21, 12, 16 and 13 frames of the front-end: with partners and without
FORMS = {
    "layer-odd": {"feat_extract_norm": "layer", "conv_bias": True, "num_conv_pos_embeddings": 15},
    "group-threefold": {"squeeze_factor": 3, "num_conv_pos_embeddings": 17},
    "layer-plain": {"feat_extract_norm": "layer", "squeeze_factor": 1, "conv_dim": (16,) * 7 + (WIDTH,)},
}


def made(form):
    """Returns the library's network in a form, and a backbone of a copy with the same numbers."""
    config = transformers.SEWConfig.from_dict(SMALL["sew"].config().to_dict() | FORMS[form])
    torch.manual_seed(7)
    core, twin = (transformers.SEWModel(config).eval() for _ in range(2))
    perturb(core)
    twin.load_state_dict(core.state_dict())
    return core, Backbone(families()["sew"], twin, front("sew"), form, "fp32")


@torch.no_grad()
@pytest.mark.parametrize("form", FORMS)
def test_states_in_a_batch_are_the_librarys_of_each_clip_alone(form):
    core, model = made(form)
    together = model(*batch(*LENGTHS))
    for row, samples in enumerate(LENGTHS):
        wave, lengths = alone(samples)
        library = library_states(core, model.front(wave, lengths))
        assert model.frames(samples) == library[0].shape[1]
        for ours, theirs in zip(together, library, strict=True):
            assert_close(ours[row, : theirs.shape[1]], theirs[0], atol=2e-5, rtol=1e-4)


@torch.no_grad()
def test_a_frame_without_a_partner_is_where_the_librarys_padding_differs():
    core, model = made("layer-odd")
    wave, lengths = batch(7000, 5333, 4400)
    fed = model.front(wave, lengths)[:, :7000]
    padded = library_states(core, fed, attention_mask=torch.arange(7000) < lengths[:, None])
    far = [
        float((padded[-1][row, : model.frames(n)] - model(*alone(n))[-1][0]).abs().max())
        for row, n in enumerate(lengths.tolist())
    ]
    assert max(far[:2]) < 1e-4 < 1e-3 < far[2]  # 13 frames, of which six pairs


def test_hop_frames_and_shortest_clip_follow_the_squeezing():
    model = made("group-threefold")[1]
    assert (model.hop, model.frames(16_000)) == (960, 16)
    model.stem(*alone(400 + 2 * 320))
    with pytest.raises(CorpusError, match=r"1039 samples.*at least 1040"):
        model.stem(*alone(1039))


@torch.no_grad()
def test_what_the_upsampling_adds_is_neither_read_nor_trained_and_works_on_the_last_state():
    core, model = made("layer-odd")
    behind = [name for name, _ in core.named_parameters() if "upsample" in name]
    assert behind == ["encoder.upsample.projection.weight", "encoder.upsample.projection.bias"]
    assert not any(map(model.family.reads, behind))
    wave, lengths = alone(4000)
    library = core(model.front(wave, lengths)).last_hidden_state
    assert_close(core.encoder.upsample(model(wave, lengths)[-1]), library, atol=2e-5, rtol=1e-4)
    assert not any("upsample" in name for name in pegbox.attach(model, "full").freed)
