"""Types of peft as methods here: each acts as in peft's own model, on WavLM too, and its numbers live in the delta."""

import re
import sys

import pytest
import torch
from _models import alone, backbone, batch, library_core, network, same, snapshot, toy_loss
from torch.testing import assert_close
from transformers import HubertConfig

import pegbox
from pegbox import surgery
from pegbox.backbones import Front, families, from_config
from pegbox.errors import RecipeError
from pegbox.methods.peft import _REFUSED, _WORKS
from pegbox.registry import Call

peft = pytest.importorskip("peft", reason="peft is not installed: pip install 'pegbox[peft]'")
pytestmark = pytest.mark.filterwarnings("ignore")
SMALL_ENOUGH = {
    "boft": {"boft_block_size": 4},
    "c3a": {"block_size": 8},
    "fourierft": {"n_frequency": 50},
    "lora": {"r": 2, "use_dora": True},
    "miss": {"r": 4},
    "randlora": {"r": 4},
    "shira": {"r": 2},
    "vera": {"r": 8},
    "waveft": {"n_frequency": 50},
}
COUNTS = {  # on HuBERT-base, q and v
    "oft": ({"oft_block_size": 32}, 285_696),
    "hra": ({"r": 8}, 147_456),
    "lokr": ({"r": 8}, 26_112),
    "loha": ({"r": 8}, 589_824),
    "fourierft": ({"n_frequency": 1000}, 24_000),
    "vera": ({"r": 256}, 24_576),
    "shira": ({"r": 8}, 294_912),
    "lora": ({"r": 8}, 294_912),
}
types = pytest.mark.parametrize("kind", _WORKS)


def spec(kind, options=None, at=("q", "v")):
    given = SMALL_ENOUGH.get(kind, {}) if options is None else options
    return str(Call("peft", (("type", kind), ("at", at), ("options", given))))


@types
def test_it_gives_what_peft_gives(kind):
    model, library = library_core("hubert-layer-pre"), library_core("hubert-layer-pre")
    delta = pegbox.attach(model, spec(kind)).eval()
    options = SMALL_ENOUGH.get(kind, {}) | ({"random_seed": 0} if kind == "shira" else {})
    config = peft.PEFT_TYPE_TO_CONFIG_MAPPING[kind.upper()](target_modules=["q_proj", "v_proj"], **options)
    theirs = peft.get_peft_model(library, config).eval()
    own = {name: tensor for name, tensor in theirs.named_parameters() if tensor.requires_grad}
    with torch.no_grad():
        for name, tensor in delta.named_parameters():  # edits.peft:0/q:weight.numbers.lora_A/weight
            place, key = name.removeprefix("edits.peft:").split(":weight.numbers.")
            block, role = place.split("/")
            tensor.add_(torch.randn_like(tensor) * 0.1)
            (match,) = [n for n in own if f"layers.{block}.attention.{role}_proj.{key.replace('/', '.default.')}" in n]
            own.pop(match).copy_(tensor)
        assert not own
        wave = alone(6000)[0]
        assert_close(theirs(wave)[0], model(wave)[0], atol=2e-5, rtol=1e-4)


@types
def test_it_acts_on_wavlm_trains_reloads_merges_and_comes_off(kind, tmp_path):
    model = backbone("wavlm-layer-pre")
    before, tensors = [x.detach() for x in model(*batch(6000, 4000))], snapshot(model)
    delta = pegbox.attach(model, spec(kind, at=("q", "v", "down")))
    largest = dict.fromkeys(dict(delta.named_parameters()), 0.0)
    optimiser = torch.optim.AdamW(delta.parameters(), lr=1e-2)
    for _ in range(2):
        optimiser.zero_grad()
        toy_loss(model(*batch(6000, 4000))).backward()
        largest = {n: max(largest[n], float(t.grad.abs().max())) for n, t in delta.named_parameters()}
        optimiser.step()
    assert min(largest.values()) > 0
    delta.eval()
    with torch.no_grad():
        trained = model(*batch(6000, 4000))
    assert float((trained[-1] - before[-1]).abs().max()) > 1e-3
    surgery.save(delta, tmp_path / "delta.safetensors")
    torch.manual_seed(77)  # nothing that is not stored may depend on the draw
    fresh = backbone("wavlm-layer-pre")
    again = surgery.load(pegbox.attach(fresh, spec(kind, at=("q", "v", "down"))).eval(), tmp_path / "delta.safetensors")
    with torch.no_grad():
        assert all(torch.equal(old, new) for old, new in zip(trained, fresh(*batch(6000, 4000)), strict=True))
    delta.detach()
    assert same(tensors, snapshot(model))
    with torch.no_grad():
        assert all(torch.equal(old, new) for old, new in zip(before, model(*batch(6000, 4000)), strict=True))
        again.merge()
        for old, new in zip(trained, fresh(*batch(6000, 4000)), strict=True):
            assert_close(old, new, atol=5e-5, rtol=1e-4)


@types
def test_the_librarys_own_wavlm_reads_the_weight_too(kind):
    model = network("wavlm-layer-pre").eval()
    wave = alone(6000)[0]
    delta = pegbox.attach(model, spec(kind))
    for block in model.encoder.layers:
        del block.attention.forward  # the library's attention, which calls no q_proj
    model(wave)[0].sum().backward()
    assert any(tensor.grad is not None and bool(tensor.grad.any()) for tensor in delta.parameters())


@pytest.mark.parametrize("kind", COUNTS)
def test_counts_on_hubert_base_without_weights(kind):
    options, count = COUNTS[kind]
    model = from_config(HubertConfig(), Front(16_000), device="meta", family=families()["hubert"])
    with torch.device("meta"):
        delta = pegbox.attach(model, spec(kind, options))
    assert sum(tensor.numel() for tensor in delta.parameters()) == count
    assert {tensor.device.type for tensor in delta.parameters()} == {"meta"}
    assert sum(tensor.numel() for tensor in delta.state_dict().values()) == count


def test_over_bf16_blocks_the_numbers_stay_fp32():
    model = backbone("hubert-layer-pre", "bf16")
    delta = pegbox.attach(model, spec("oft"))
    toy_loss(model(*batch(6000, 4000))).backward()
    assert {tensor.dtype for tensor in delta.parameters()} == {torch.float32}
    assert all(bool(tensor.grad.any()) for tensor in delta.parameters())


def test_a_moved_delta_moves_what_is_hidden_in_it():
    delta = pegbox.attach(backbone("hubert-layer-pre"), spec("vera"))
    for edit in delta.edits.values():
        edit.double()
        layer = edit.hidden[0]
        hidden = {tensor.dtype for tensor in [*layer.buffers(), *layer.parameters()]}
        assert hidden == {torch.float64}
        assert all(any(own is tensor for own in layer.parameters()) for tensor in edit.parameters())


@pytest.mark.parametrize("kind", sorted(set(peft.PEFT_TYPE_TO_CONFIG_MAPPING)))
def test_every_type_of_peft_works_or_is_refused_by_name(kind):
    kind = str(getattr(kind, "value", kind)).lower()
    if kind not in _WORKS:
        assert kind in _REFUSED
        with pytest.raises(RecipeError, match=re.escape(f"the type '{kind}' cannot be used: {_REFUSED[kind]}")):
            pegbox.attach(backbone("hubert-layer-pre"), spec(kind))


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        ('peft(type="ofd")', "did you mean 'oft'"),
        ('peft(options={"oft_blok_size": 8})', "no option 'oft_blok_size' here; did you mean 'oft_block_size'"),
        ('peft(options={"target_modules": "q"})', "no option 'target_modules' here"),
        ('peft(type="lora", options={"bias": "all"})', "no option 'bias' here"),
        ('peft(type="lora", options={"lora_dropout": 0.1})', "a weight sees none; leave dropout at 0"),
        ('peft(type="lora", options={"init_lora_weights": "pissa"})', "changes the network's own weights"),
        ('peft(type="c3a")', "'c3a' with {} is refused by peft: The block size should be a factor"),
        ('peft(at=["norm1"])', "'0.norm1' is no linear module"),
    ],
)
def test_what_cannot_be_meant_is_refused(wanted, reason):
    model = backbone("hubert-layer-pre")
    tensors = snapshot(model)
    with pytest.raises(RecipeError, match=reason.replace("{", r"\{")):
        pegbox.attach(model, wanted)
    assert same(tensors, snapshot(model))


def test_without_the_library_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(RecipeError, match=r"pip install 'pegbox\[peft\]'"):
        pegbox.attach(backbone("hubert-layer-pre"), "peft")


def test_types_that_have_a_name_here_say_so():
    for kind, name in (("beft", 'bitfit(at=["q", "v"])'), ("ia3", "ia3")):
        with pytest.raises(RecipeError, match=re.escape(f"Pegbox has '{name}'")):
            pegbox.attach(backbone("hubert-layer-pre"), f'peft(type="{kind}")')


def test_beft_of_peft_is_the_bias_tuning_that_its_refusal_names():
    model, library = library_core("hubert-layer-pre"), library_core("hubert-layer-pre")
    delta = pegbox.attach(model, 'bitfit(at=["q", "v"])')
    theirs = peft.get_peft_model(library, peft.BeftConfig(target_modules=["q_proj", "v_proj"])).eval()
    own = {name: tensor for name, tensor in theirs.named_parameters() if tensor.requires_grad}
    with torch.no_grad():
        for name, tensor in delta.named_parameters():  # edits.bitfit:0/q:bias.difference
            block, role = name.partition("edits.bitfit:")[2].partition(":")[0].split("/")
            tensor.add_(torch.randn_like(tensor))
            (match,) = [n for n in own if f"layers.{block}.attention.{role}_proj." in n]
            own.pop(match).copy_(tensor)
        assert not own
        wave = alone(6000)[0]
        assert_close(theirs(wave)[0], model(wave)[0], atol=2e-5, rtol=1e-4)
