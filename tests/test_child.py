"""Child networks: which entries train, by which arithmetic, and what an interruption or an artefact keeps."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import pegbox
from pegbox import backbones, methods
from pegbox.backbones import Front, families, from_config
from pegbox.entries import Entries, places, train_inside
from pegbox.errors import RecipeError, WeightsError
from pegbox.recipe import Recipe, make
from pegbox.run import open_model
from pegbox.surgery import load, read_tensors, save, save_tensors
from pegbox.training.feed import Feed
from pegbox.training.loop import Step, Trainer
from pegbox.training.optim import ChildNetAdamW
from pegbox.training.plans import plan
from pegbox.training.prepare import assemble, by_method
from pegbox.training.probe import CHOICE, REPORT, Probe
from pegbox.training.session import Session

FISHER = 'child(keep=0.05, choose="fisher", batches=2)'


def recipe_of(hubert: Path, tones: Path, method: str = FISHER, **train: Any) -> Recipe:
    return make(
        {
            "backbone": str(hubert),
            "method": method,
            "task": 'classify(label="class", projection=8)',
            "corpus": f'folder(root="{tones}", valid=0.2, test=0.2)',
            "train": {"epochs": 3, "batch_clips": 8} | train,
        }
    )


def updated(
    start: list[float], index: list[int], gradients: list[list[float]], decay: float = 0.0, **options: Any
) -> tuple[nn.Linear, ChildNetAdamW]:
    """Trains entries of a weight by the published optimiser with these dense gradients."""
    owner = nn.Linear(len(start), 1, bias=False)
    owner.weight.data[:] = torch.tensor(start)
    entries = Entries(owner.weight, torch.tensor(index, dtype=torch.int32))
    train_inside(owner, "weight", owner, entries)
    optimizer = ChildNetAdamW([{"params": [entries.values], "weight_decay": decay}], **{"lr": 0.1} | options)
    for gradient in gradients:
        (owner(torch.ones(1, len(start))) * 0).sum().backward()  # the hook sees a gradient of the right shape
        optimizer.zero_grad()
        owner.weight.grad = torch.tensor([gradient])
        entries.gather(owner.weight)
        optimizer.step()
    owner(torch.ones(1, len(start)))
    return owner, optimizer


def test_the_published_update() -> None:
    gradients = [[0.5, 0.5, -0.25, 1e3], [0.1, -3, 0.3, 2], [-0.4, 1, 0.2, 1]]
    stages = [
        [0.900000632, -2, 0.599998713, 4],
        [0.819697022, -2, 0.585704327, 4],
        [0.810327113, -2, 0.546735048, 4],
    ]
    for steps, wanted in enumerate(stages, 1):
        owner, optimizer = updated([1, -2, 0.5, 4], [0, 2], gradients[:steps])
        assert owner.weight[0].tolist() == pytest.approx(wanted, rel=1e-6)
        assert owner.weight[0, 1] == -2 and owner.weight[0, 3] == 4
    (state,) = optimizer.state.values()
    assert state["exp_avg"].tolist() == pytest.approx([0.00949999876, 0.0267500021], rel=1e-6)
    assert state["exp_avg_sq"].tolist() == pytest.approx([0.000419490243, 0.000192285079], rel=1e-6)


@pytest.mark.parametrize(("eps", "wanted"), [(1e-7, 0.798301935), (1e-6, 0.79831171)])
def test_decay_follows_the_update_and_leaves_other_entries_alone(eps: float, wanted: float) -> None:
    owner, _ = updated([1, -2], [0], [[0.5, 0.5]] * 2, decay=0.01, eps=eps)
    assert owner.weight[0, 0].item() == pytest.approx(wanted, rel=1e-6)
    assert owner.weight[0, 1] == -2  # the published code shrinks it


def test_small_gradients_meet_the_published_eps() -> None:
    assert updated([0], [0], [[1e-7]], lr=1.0)[0].weight.item() == pytest.approx(-0.0306534283, rel=1e-6)


def test_momentum_moves_on_without_gradient() -> None:
    wanted = [0.900000334, 0.800000548, 0.722700417, 0.659380853, 0.605861425, 0.559734583]
    for steps, value in enumerate(wanted, 1):
        gradients = [[1.0]] * min(steps, 2) + [[0.0]] * max(steps - 2, 0)
        assert updated([1], [0], gradients)[0].weight.item() == pytest.approx(value, rel=1e-6)


def test_an_infinite_gradient_elsewhere_stays_there() -> None:
    owner, _ = updated([1, 1], [0], [[1, float("inf")]])
    assert owner.weight[0].tolist() == pytest.approx([0.90000033, 1.0], rel=1e-6)


@pytest.mark.parametrize(("network", "pool", "tensors"), [("Hubert", 85_057_024, 196), ("WavLM", 85_067_248, 233)])
def test_published_pools_and_sizes(network: str, pool: int, tensors: int) -> None:
    config = getattr(transformers, f"{network}Config")()
    model = from_config(config, Front(16_000), device="meta", family=families()[network.lower()])
    held = [getattr(site.owner, name) for site, name in model.sites().pool()]
    assert (sum(each.numel() for each in held), len(held)) == (pool, tensors)
    for share in (0.1, 0.01, 0.001):
        delta = pegbox.attach(model, f"child(keep={share})")
        assert sum(tensor.numel() for tensor in delta.parameters()) == round(share * pool)
        delta.detach()


def test_only_the_chosen_entries_move_and_decay_does_not_reach_the_rest(
    hubert: Path, tones: Path, tmp_path: Path
) -> None:
    recipe = recipe_of(hubert, tones, weight_decay=0.5, delta_lr=1e-2)
    result = pegbox.train(recipe, tmp_path / "run")
    tensors, _ = read_tensors(tmp_path / "run" / "delta.safetensors")
    model, before = backbones.load(str(hubert)), backbones.load(str(hubert))
    places = by_method(tensors)["child"]
    delta = surgery_of(model, places)
    delta.load_tensors({n.removeprefix("delta."): t for n, t in tensors.items() if n.startswith("delta.")})
    delta.merge()
    moved = sum(int((a != b).sum()) for a, b in zip(model.core.parameters(), before.core.parameters(), strict=True))
    pool = sum(getattr(site.owner, name).numel() for site, name in model.sites().pool())
    assert result["parameters"]["delta"] == round(0.05 * pool)
    assert 0.99 * round(0.05 * pool) <= moved <= round(0.05 * pool)


def surgery_of(model: Any, places: dict[str, Tensor]) -> Any:
    from pegbox.delta import Delta

    chosen = methods.parse(FISHER)
    return Delta(model.core, methods.plan(chosen, model.sites(), {"child": places}), model.family.unused)


@pytest.mark.parametrize(
    "method",
    [
        FISHER,
        'child(keep=0.1, choose="gradient", threshold="percentile", clip="parent")',
        'child(keep=0.3, choose="random") + lora(rank=2)',
        'child(keep=0.02, choose="fisher", examples="each", batches=20, stable=0.5, scope="tensor") + bitfit',
    ],
)
@pytest.mark.parametrize("optimizer", ["adamw", "childnet_adamw"])
def test_an_interrupted_run_keeps_its_child(
    method: str, optimizer: str, hubert: Path, tones: Path, tmp_path: Path
) -> None:
    recipe = recipe_of(hubert, tones, method, optimizer=optimizer, validate_steps=2, accumulate=2)
    whole = pegbox.train(recipe, tmp_path / "whole")

    def stop(event: Any, folder: Path) -> None:
        if isinstance(event, Step) and event.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pegbox.train(recipe, tmp_path / "cut", stop)
    assert (tmp_path / "cut" / CHOICE).exists()
    resumed = pegbox.train(recipe, tmp_path / "cut")
    assert {key: resumed[key] for key in ("scores", "best_step")} == {
        key: whole[key] for key in ("scores", "best_step")
    }
    pair = [read_tensors(tmp_path / name / "delta.safetensors")[0] for name in ("whole", "cut")]
    assert all(torch.equal(pair[0][name], pair[1][name]) for name in pair[0])
    assert not (tmp_path / "cut" / CHOICE).exists()
    assert pegbox.load(tmp_path / "cut").evaluate("test") == pytest.approx(whole["scores"]["test"])


def test_an_artefact_in_half_precision_is_the_run_that_was_scored(hubert: Path, tones: Path, tmp_path: Path) -> None:
    single, half = FISHER, FISHER.replace(")", ', values="half") + bitfit')
    for name, method in (("single", single + " + bitfit"), ("half", half)):
        result = pegbox.train(recipe_of(hubert, tones, method, delta_lr=1e-2), tmp_path / name)
        assert pegbox.load(tmp_path / name).evaluate() == pytest.approx(result["scores"]["test"])
    first, other = (read_tensors(tmp_path / name / "delta.safetensors")[0] for name in ("single", "half"))
    before = open_model(pegbox.load(tmp_path / "half"))
    wholes = before.delta.whole({key.removeprefix("delta."): each for key, each in other.items()})
    changes = {key for key in other if key.endswith(".changes")}
    assert changes and all(other[key].dtype == torch.float16 for key in changes)
    for key, values in first.items():
        if key.endswith(".values"):
            start = before.delta.edits[key.removeprefix("delta.edits.").removesuffix(".values")].start
            kept = wholes[key.removeprefix("delta.")]
            torch.testing.assert_close(kept - start, values - start, rtol=2**-10, atol=1e-6)
        else:
            assert torch.equal(values, other[key])
    again = before.artefact()
    assert again.keys() == other.keys() and all(torch.equal(again[key], other[key]) for key in other)


@given(st.lists(st.tuples(st.floats(-8, 8, width=32), st.floats(-1, 1, width=32)), min_size=1, max_size=50))
@settings(deadline=None, max_examples=200)
def test_half_precision_rounds_once(pairs: list[tuple[float, float]]) -> None:
    start, change = torch.tensor(pairs).T.contiguous()
    entries = Entries(start, torch.arange(len(start)), half=True)
    kept = entries.whole(entries.short(start + change))
    assert torch.equal(entries.whole(entries.short(kept)), kept)
    torch.testing.assert_close(kept, start + change, rtol=1e-6, atol=2**-11)


@pytest.mark.parametrize("half", [False, True])
def test_the_artefact_of_a_thousandth_of_hubert_base(half: bool, tmp_path: Path) -> None:
    """85,058 entries of 85,057,024 take less than half a megabyte with their places and names."""
    model = from_config(transformers.HubertConfig(), Front(16_000), device="meta", family=families()["hubert"])
    stored, chosen, done, kept = {}, {}, 0, 0
    for site, name in model.sites().pool():
        entries = getattr(site.owner, name).numel()
        done += entries
        wanted, kept = math.ceil(done / 1000) - kept, math.ceil(done / 1000)
        index = torch.from_numpy(np.unique(np.linspace(0, entries - 1, wanted).astype(np.int32)))
        module = Entries(torch.rand(entries), index, half=half)
        key = f"delta.edits.child:{site.name}:{name}".replace(".", "/")
        chosen[key] = index, entries
        state = {part: each for part, each in module.state_dict().items() if not (half and part == "values")}
        stored |= {f"{key}.{part}": each for part, each in state.items()}
        stored |= {f"{key}.changes": module.short(module.values + 1e-3)} if half and wanted else {}
    assert (done, sum(len(index) for index, _ in chosen.values())) == (85_057_024, 85_058)
    save_tensors(tmp_path / "delta.safetensors", stored | {"layers": torch.ones(13)}, {})
    assert (tmp_path / "delta.safetensors").stat().st_size < (320_000 if half else 500_000)
    again, about = read_tensors(tmp_path / "delta.safetensors")
    assert about == {} and again.keys() == stored.keys() | {"layers"}
    assert all(torch.equal(again[name], tensor) for name, tensor in stored.items())
    assert all(torch.equal(places(key, again, entries), index) for key, (index, entries) in chosen.items())


def test_a_delta_in_half_precision_is_saved_loaded_and_detached(hubert: Path, tmp_path: Path) -> None:
    network = backbones.load(str(hubert))
    before, spec = network.fingerprint(), 'child(keep=0.05, choose="magnitude", values="half") + bitfit'
    delta = pegbox.attach(network, spec)
    with torch.no_grad():
        for tensor in delta.parameters():
            tensor.add_(torch.randn_like(tensor), alpha=0.01)
    save(delta, tmp_path / "delta.safetensors")
    delta.round()
    rounded = delta.tensors()
    delta.detach()
    assert network.fingerprint() == before
    again = load(pegbox.attach(network, spec), tmp_path / "delta.safetensors")
    assert again.tensors().keys() == rounded.keys()
    assert all(torch.equal(tensor, rounded[name]) for name, tensor in again.tensors().items())
    again.detach()
    single = pegbox.attach(network, spec.replace("half", "single"))
    with pytest.raises(WeightsError, match=r"do not fit .*changes"):
        load(single, tmp_path / "delta.safetensors")


def test_another_child_is_refused_on_resume(hubert: Path, tones: Path, tmp_path: Path) -> None:
    recipe = recipe_of(hubert, tones, validate_steps=1)

    def stop(event: Any, folder: Path) -> None:
        if isinstance(event, Step) and event.step == 2:
            raise KeyboardInterrupt

    for name, seed in (("a", 0), ("b", 1)):
        settings = make({**json.loads(json.dumps(_plain(recipe))), "seeds": [seed]})
        with pytest.raises(KeyboardInterrupt):
            pegbox.train(settings, tmp_path / name, stop)
    (tmp_path / "b" / CHOICE).replace(tmp_path / "a" / CHOICE)
    with pytest.raises(WeightsError, match=r"another one|do not fit"):
        pegbox.train(recipe, tmp_path / "a")


def _plain(recipe: Recipe) -> dict[str, Any]:
    from dataclasses import asdict

    return {key: value for key, value in asdict(recipe).items() if key not in ("seeds", "cache")}


def trainer_of(recipe: Recipe, choices: Any = None) -> tuple[Trainer, Any]:
    session = Session(recipe)
    data = session.data(None)
    torch.manual_seed(0)
    model = assemble(recipe, session.backbone, session.task, data.vocabulary, choices)
    feed = Feed(session.backbone, None)
    return Trainer(model, feed, methods.parse(recipe.method), recipe.train, 0, session.accelerator), data


@pytest.mark.parametrize("passes", [1, 3])
def test_clipping_by_the_parents_norm(passes: int, hubert: Path, tones: Path) -> None:
    """The gradient of a child's entry is scaled by the norm over its whole pool and the head, as published."""
    method = 'child(keep=0.01, choose="magnitude", clip="parent")'
    trainer, data = trainer_of(recipe_of(hubert, tones, method, clip=0.1))
    rows = data.rows["train"]
    batches = [rows[i * 4 : i * 4 + 4] for i in range(passes)]
    dense, _ = trainer_of(recipe_of(hubert, tones, "weighted_sum"))
    pool = {f"{s.name}:{t}".replace(".", "/"): getattr(s.owner, t) for s, t in dense.model.backbone.sites().pool()}
    for tensor in pool.values():
        tensor.requires_grad_(True)
    for entries in trainer.model.delta.entries():
        entries.passes = passes
    for each in (trainer, dense):
        for group in batches:
            each._loss(group).backward()
    others = [tensor.grad for tensor in dense.model.trained().values()]
    norm = torch.stack([g.square().sum() for g in [*others, *(t.grad for t in pool.values())]]).sum().sqrt()
    trainer._clip()
    for name, module in trainer.model.delta.edits.items():
        assert module.squares > 0
        if module.values is not None:
            wanted = pool[name.removeprefix("child:")].grad.reshape(-1)[module.index] * (0.1 / (norm + 1e-6))
            torch.testing.assert_close(module.values.grad, wanted, rtol=1e-4, atol=1e-8)


def test_fisher_is_the_mean_square_of_clipped_batch_gradients(hubert: Path, tones: Path) -> None:
    trainer, data = trainer_of(recipe_of(hubert, tones, "weighted_sum"))
    model, rows = trainer.model.train(), data.rows["train"]
    pool = {f"{s.name}:{t}": getattr(s.owner, t) for s, t in model.backbone.sites().pool()}
    (wish,) = (each.method for each in methods.parse("child(batches=3, tensor_clip=0.001)"))
    probe = Probe(model, rows, trainer.settings, 0)
    (found,) = probe.importance(pool, wish)
    total = {name: torch.zeros_like(tensor) for name, tensor in pool.items()}
    for group in list(probe._groups(False, 3)):
        for tensor in pool.values():
            tensor.requires_grad_(True).grad = None
        probe._loss(group).backward()
        for name, tensor in pool.items():
            total[name] += (tensor.grad * min(1.0, 0.001 / (float(tensor.grad.norm()) + 1e-6))).square() / 3
    assert probe.batches == 3 and len(found) == len(pool)
    for name in pool:
        torch.testing.assert_close(found[name], total[name], rtol=1e-4, atol=1e-12)


def test_cancelling_clips_count_when_each_is_measured() -> None:
    """Two clips whose gradients cancel have a batch gradient of zero, and squares that are not."""

    class Cancelling(Probe):
        def _groups(self, alone: bool, most: int) -> Any:
            yield from ([1.0], [-1.0]) if alone else ([1.0, -1.0],)

        def _loss(self, group: Any) -> Tensor:
            return torch.stack([weight.sum() * sign for sign in group]).mean()

    weight = nn.Parameter(torch.ones(2), requires_grad=False)
    for examples, value in (("batch", 0.0), ("each", 1.0)):
        (wish,) = (each.method for each in methods.parse(f'child(examples="{examples}", tensor_clip=0)'))
        probe = Cancelling(nn.Linear(1, 1), [], None, 0)  # type: ignore[arg-type]
        (found,) = probe.importance({"w": weight}, wish)
        assert found["w"].tolist() == [value, value]


def test_a_random_child_draws_anew_and_scales() -> None:
    torch.manual_seed(0)
    owner = nn.Linear(1000, 1, bias=False)
    entries = Entries(owner.weight, torch.arange(1000, dtype=torch.int32), keep=0.3)
    train_inside(owner, "weight", owner, entries)
    seen = []
    for _ in range(2):
        owner(torch.ones(1, 1000)).sum().backward()
        entries.thin()
        seen.append(entries.values.grad.clone())
        entries.values.grad = None
    assert {round(value, 4) for value in seen[0].tolist()} == {0.0, round(1 / 0.3, 4)}
    assert 0.2 < float((seen[0] > 0).float().mean()) < 0.4
    assert not torch.equal(*seen)


def test_the_report_of_importance(hubert: Path, tones: Path, tmp_path: Path) -> None:
    result = pegbox.train(recipe_of(hubert, tones), tmp_path / "run")
    (report,) = json.loads((tmp_path / "run" / REPORT).read_text()).values()
    assert report["batches"] == 2
    assert report["mass"]["1"] == pytest.approx(1.0)
    assert list(report["mass"].values()) == sorted(report["mass"].values())
    for table in ("block", "role"):
        parts, sizes, kept = np.array(list(report[table].values())).T
        assert parts.sum() == pytest.approx(1.0)
        assert kept.sum() == result["parameters"]["delta"]
        assert (kept <= sizes).all()


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("child(keep=0)", "above 0 and up to 1"),
        ("child(keep=1.5)", "above 0 and up to 1"),
        ("child(stable=2)", "from 0 to 1"),
        ('child(choose="magnitude", batches=3)', "batches would have no effect"),
        ('child(choose="random", scope="tensor", stable=0.9)', "scope, stable would have no effect"),
        ('child(choose="luck")', "'fisher' or 'gradient'"),
        ('child(at=["conv.9"])', "unknown site|has no site"),
        ('child(blocks="9")', "no block"),
    ],
)
def test_options_are_checked(method: str, message: str, hubert: Path, tones: Path) -> None:
    with pytest.raises(RecipeError, match=message):
        plan(recipe_of(hubert, tones, method))


def test_a_child_that_needs_data_is_refused_on_a_bare_network(hubert: Path) -> None:
    model = backbones.load(str(hubert))
    with pytest.raises(RecipeError, match=r"looks at data before it can be attached"):
        pegbox.attach(model, "child")
    for option in ('choose="random"', 'choose="magnitude", clip="parent"'):
        with pytest.raises(RecipeError, match=r"act at each update"):
            pegbox.attach(model, f"child({option})")
    with pytest.raises(RecipeError, match=r"one child network"):
        pegbox.attach(model, 'child(choose="magnitude") + child(choose="magnitude")')
    assert pegbox.attach(model, 'child(choose="magnitude")').lowest == -1  # freed again after both


def test_entries_above_what_the_head_reads_are_refused(hubert: Path, tones: Path) -> None:
    recipe = make({**_plain(recipe_of(hubert, tones, 'child(choose="magnitude")')), "features": 1})
    with pytest.raises(RecipeError, match="would never train"):
        plan(recipe)


def test_tensors_that_only_bear_such_names_stay_as_they_are(tmp_path: Path) -> None:
    """A method of one's own may call its parameters so."""
    names = [f"delta.edits.own:{n}.{part}" for n in range(2) for part in ("low", "high", "values")]
    stored = {name: torch.rand(2 + number, 3) for number, name in enumerate(names)} | {"x.low": torch.ones(1)}
    save_tensors(tmp_path / "delta.safetensors", stored, {})
    again, _ = read_tensors(tmp_path / "delta.safetensors")
    assert again.keys() == stored.keys() and all(torch.equal(again[name], stored[name]) for name in stored)
