"""Methods on networks that make speech of text, in the caller's own loop: the laws of what finds its sites there."""

import pytest
import torch
from _models import EXAMPLES, NOT_IDENTITY, UNIONS, hooks, method_names, same, snapshot, trained_inside
from _synthesis import CONFIGS, ENCODER, answer, loss_of, network, plain_answer
from torch.testing import assert_close

import pegbox
from pegbox import registry, surgery
from pegbox.backbones import find_sites, tables
from pegbox.blocks import select_blocks
from pegbox.delta import Delta, Term
from pegbox.errors import RecipeError
from pegbox.exchange import export_peft, import_peft
from pegbox.sites import Mixing, around, on

REFUSALS = (  # of methods that have no place on a network
    *("has no site", "between the network and a head", "peft: the library is not installed", "no linear module"),
    *("only its weight and bias can be edited", "looks across frames", "outside=True means an encoder"),
)
NO_GRADIENT = ("freed.posterior_encoder", "freed.duration_predictor")  # of VITS: only the library's training has them
WIDER = {("speecht5", "ipet(prompts=2, size=4)"): "ipet(prompts=2, size=8)"}  # four drawn ReLUs are shut by chance
every = pytest.mark.parametrize("name", CONFIGS)


def pairs():
    """Returns every (network, spec) of the laws: each method's first example on all, the others on one each in turn."""
    names, further = tuple(CONFIGS), list(UNIONS)
    for method in method_names():
        first, *others = EXAMPLES.get(method, (method,))
        further += others
        yield from ((name, WIDER.get((name, first), first)) for name in names)
    yield from ((names[turn % len(names)], spec) for turn, spec in enumerate(further))
    yield "vits", 'lora(rank=2, at=["up", "down"], blocks="flow.*") + prefix(length=3)'


def attached(model, spec):
    """Attaches; a network without the sites of a method is no failure of either."""
    torch.manual_seed(5)
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


@pytest.mark.parametrize(("name", "spec"), list(pairs()))
def test_the_laws_of_a_method(name, spec, tmp_path):
    model = network(name)
    tensors, hanging, before = snapshot(model), hooks(model), plain_answer(name)
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
    before, sites = plain_answer(name), find_sites(table, model, None)
    firsts = {blocks[0] for blocks in sites.stacks.values()}
    for site in (site for site in sites.table if site.block in firsts):
        edit = on(site, "weight", Nudge()) if site.place == "weights" else around(site, Nudge())
        delta = Delta(model, [Term("test", (edit,))], ready=table.ready)
        assert not torch.equal(before, answer(name, model)), site.name
        delta.detach()
    assert torch.equal(before, answer(name, model))


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
    with pytest.raises(RecipeError, match=r"'decoder\.\*' is no block or range of a network with blocks 0 to 3"):
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
        ("vits", 'deep_prompt(blocks="flow.*")', "the chosen blocks have none of the sites enter; they have up, down"),
        ("speecht5", 'deep_prompt(blocks="decoder.*")', "the chosen blocks have none of the sites enter; they have q"),
        ("speecht5", "unipelt", r"the block of 'decoder\.0\.q' has no site 'enter', for its gates"),
        ("vits", 'lora(blocks="flow.*")', "vits: the chosen blocks have none of the sites q, v; they have up, down"),
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
    delta = pegbox.attach(model, 'lora(rank=2, blocks="1:") + lora(rank=2, at=["o"])')
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
