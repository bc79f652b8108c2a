"""Searches: candidates compete on one backbone; the winner ends as if it had been trained alone."""

import gc
import json
import math
import weakref
from collections.abc import Sequence
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

import pegbox
from pegbox import backbones
from pegbox.cli import app
from pegbox.errors import NonFiniteError, RecipeError
from pegbox.methods.auto import Auto
from pegbox.recipe import Recipe, dumps, make
from pegbox.rows import Row
from pegbox.surgery import read_tensors
from pegbox.training.candidates import resolve
from pegbox.training.contest import Contest
from pegbox.training.entrant import Judged, Tried, ranked
from pegbox.training.feed import Feed
from pegbox.training.loop import Progress, Step, Stopped, Trainer, Validated
from pegbox.training.plans import plan
from pegbox.training.session import Session

CHILDREN = tuple(f"child(keep={share}, batches=2)" for share in (0.1, 0.01, 0.001))


def recipe_of(hubert: Path, tones: Path, search: dict[str, Any] | None = None, **changes: Any) -> Recipe:
    train = {"steps": 10, "validate_steps": 3, "batch_clips": 8} | changes.pop("train", {})
    settings = {
        "backbone": str(hubert),
        "task": 'classify(label="class", projection=8)',
        "corpus": f'folder(root="{tones}", valid=0.2, test=0.2)',
        "train": train,
    }
    return make(settings | ({"search": search} if search else {}) | changes)


@pytest.mark.parametrize(
    ("scores", "better", "chosen"),
    [
        ([0.7, 0.8, 0.9], "max", 2),
        ([0.9, 0.9, 0.9], "max", 2),  # a tie goes to the smallest; the published code takes the first
        ([0.8, 0.9, 0.9], "max", 2),
        ([30, 20, 25], "min", 1),
        ([20, 20, 20], "min", 2),
        ([3, 2, 1], "min", 2),
        ([0.3, 0.2, 0.2], "min", 2),
        ([10, 50, 40], "max", 1),
        ([1, 5, 9], "min", 0),  # error rates that the published code maximises
        ([math.nan, 0.8, 0.9], "max", 2),
        ([math.nan, 10, 20], "min", 1),
        ([0.8, math.nan, 0.9], "max", 2),
        ([math.nan] * 3, "max", 2),
    ],
)
def test_the_choice(scores: list[float], better: str, chosen: int) -> None:
    sizes = (8_505_703, 850_571, 85_058)
    assert ranked(list(zip(scores, sizes, range(3), strict=True)), better)[0] == chosen


def test_the_smoothed_loss_is_corrected_for_its_start() -> None:
    at, seen = Progress(), []
    for loss in (3.0, 2.0, 1.5):
        at.step, at.moving = at.step + 1, 0.6 * at.moving + 0.4 * loss
        seen.append(at.smoothed)
    assert seen == pytest.approx([3, 2.375, 1.9285714])
    assert math.isnan(Progress().smoothed)


def events_of(recipe: Recipe, folder: Path) -> tuple[dict[str, Any], list[Any]]:
    seen: list[Any] = []
    result = pegbox.train(recipe, folder, lambda event, _: seen.append(event))
    return result, seen


def test_all_take_the_same_steps_in_turn_and_the_winner_goes_on(hubert: Path, tones: Path, tmp_path: Path) -> None:
    recipe = recipe_of(hubert, tones, {"candidates": CHILDREN, "rungs": [0.5]})
    result, seen = events_of(recipe, tmp_path / "run")
    steps = [(e.candidate, e.event.step) for e in seen if isinstance(e, Tried) and isinstance(e.event, Step)]
    assert steps == [(candidate, step) for step in range(1, 6) for candidate in range(3)]
    assert [e.step for e in seen if isinstance(e, Step)] == [6, 7, 8, 9, 10]
    (rung,) = (e for e in seen if isinstance(e, Judged))
    found = result["search"]
    assert len(rung.kept) == 1 and found["chosen"] == CHILDREN[rung.kept[0]] == result["method"]
    assert [row.get("dropped_at") for row in found["table"]].count(0.5) == 2
    assert found["cost"] == pytest.approx((10 + 5 + 5 + 2) / 10)
    assert pegbox.load(tmp_path / "run").evaluate() == pytest.approx(result["scores"]["test"])
    assert not (tmp_path / "run" / "candidates").exists()


def test_the_frozen_part_is_computed_once_a_batch_for_all(
    hubert: Path, tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three candidates above the first block, other parts of clips each epoch, so that nothing can be cached."""
    stem, calls = backbones.Backbone.stem, []

    def counted(network: Any, *inputs: Any) -> Any:
        calls.append(len(inputs[0]))
        return stem(network, *inputs)

    monkeypatch.setattr(backbones.Backbone, "stem", counted)
    methods = [
        "bitfit(blocks='1:')",
        "layernorm(blocks='1:')",
        "ia3(blocks='1:')",
    ]  # which draw nothing: one head for all
    train = {"crop": 0.2, "delta_lr": 1e-2, "validate_steps": 10}
    search = {"candidates": methods, "rungs": [0.3]}
    result = pegbox.train(recipe_of(hubert, tones, search, train=train), tmp_path / "search")
    competing = len(calls)
    calls.clear()
    alone = pegbox.train(recipe_of(hubert, tones, method=result["method"], train=train), tmp_path / "alone")
    assert competing == len(calls) + 3 * 2  # looks at the rung: two batches each
    assert result["scores"] == alone["scores"]
    pair = [read_tensors(tmp_path / name / "delta.safetensors")[0] for name in ("search", "alone")]
    assert all(torch.equal(tensor, pair[1][name]) for name, tensor in pair[0].items())


def test_candidates_have_one_head_and_one_stream_of_draws(hubert: Path, tones: Path, tmp_path: Path) -> None:
    """Whatever they draw themselves, and whoever is left of them when a search goes on."""
    specs = ("lora(rank=2)", "bottleneck(size=4)", "bitfit", CHILDREN[0])
    search = {"candidates": specs, "rungs": [0.2], "rates": [1.0, 3.0]}
    session = Session(recipe_of(hubert, tones, search))
    data = session.data(None)
    contest = Contest(session, data, 0, tmp_path)
    contest.leave()
    (tmp_path / "later").mkdir()
    later = Contest(session, data, 0, tmp_path / "later")
    later.leave()
    plain = contest.entrants[0]
    for each in [*contest.entrants, *reversed(later.entrants)]:
        assert torch.equal(each.random["cpu"], plain.random["cpu"])
        pairs = zip(each.model.head.parameters(), plain.model.head.parameters(), strict=True)
        assert all(torch.equal(one, other) for one, other in pairs)
    (tmp_path / "alone").mkdir()
    alone = Contest(Session(recipe_of(hubert, tones, method=CHILDREN[0])), data, 0, tmp_path / "alone").winner
    assert torch.equal(alone.random["cpu"], plain.random["cpu"])


@pytest.mark.parametrize("observe", ["dev", "dev_loss", "loss"])
def test_the_winner_is_what_it_would_be_alone(observe: str, hubert: Path, tones: Path, tmp_path: Path) -> None:
    train = {"delta_lr": 1e-2}
    search = {"candidates": CHILDREN, "rungs": [0.2, 0.5], "observe": observe}
    direct = {
        "use": False
    }  # one cache serves all candidates, another one would serve the winner: alike, not bit for bit
    result, seen = events_of(recipe_of(hubert, tones, search, train=train, cache=direct), tmp_path / "search")
    assert [len(e.kept) for e in seen if isinstance(e, Judged)] == [2, 1]
    alone = pegbox.train(
        recipe_of(hubert, tones, method=result["method"], train=train, cache=direct), tmp_path / "alone"
    )
    assert result["scores"] == alone["scores"]
    pair = [read_tensors(tmp_path / name / "delta.safetensors")[0] for name in ("search", "alone")]
    assert pair[0].keys() == pair[1].keys()
    assert all(torch.equal(pair[0][name], pair[1][name]) for name in pair[0])


@pytest.mark.parametrize("observe", ["dev", "dev_loss"])
def test_a_rung_looks_at_so_many_clips(
    observe: str, hubert: Path, tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[tuple[str, ...]] = []
    look = Trainer._look

    def watched(self: Trainer, rows: Sequence[Row], with_loss: bool) -> Any:
        looked.append(tuple(row.id for row in rows))
        return look(self, rows, with_loss)

    monkeypatch.setattr(Trainer, "_look", watched)
    search = {"candidates": CHILDREN, "rungs": [0.2], "observe": observe, "clips": 3}
    _, seen = events_of(recipe_of(hubert, tones, search), tmp_path / "run")
    at_rungs = [ids for ids in looked if len(ids) == 3]
    assert len(at_rungs) == len(CHILDREN) and len(set(at_rungs)) == 1
    whole = max(looked, key=len)
    assert set(at_rungs[0]) < set(whole) and sum(isinstance(event, Judged) for event in seen) == 1


def test_few_pairs_are_no_measure(hubert: Path, tones: Path) -> None:
    search = {"candidates": CHILDREN, "rungs": [0.2], "clips": 3}
    task = 'verify(label="class", network="pooled", size=8)'
    with pytest.raises(RecipeError, match="scores pairs of clips"):
        plan(recipe_of(hubert, tones, search, task=task))
    plan(recipe_of(hubert, tones, search | {"observe": "dev_loss"}, task=task))


MIXED = ("lora(rank=2)", "full", "weighted_sum", CHILDREN[0], "bitfit + lora(rank=1)")


@pytest.mark.parametrize("stop_after", [1, 8, 12, 20, 26])
def test_interrupted_anywhere_it_chooses_and_ends_the_same(
    stop_after: int, hubert: Path, tones: Path, tmp_path: Path
) -> None:
    search = {"candidates": MIXED, "rungs": [0.2, 0.6]}
    recipe = recipe_of(hubert, tones, search, train={"validate_steps": 1})
    whole = pegbox.train(recipe, tmp_path / "whole")
    count = 0

    def stop(event: Any, folder: Path) -> None:
        nonlocal count
        count += isinstance(event, Step | Judged) or (isinstance(event, Tried) and isinstance(event.event, Step))
        if count == stop_after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pegbox.train(recipe, tmp_path / "cut", stop)
    resumed = pegbox.train(recipe, tmp_path / "cut")
    assert resumed["search"]["chosen"] == whole["search"]["chosen"]
    assert resumed["search"] == whole["search"]
    assert resumed["scores"] == whole["scores"]
    pair = [read_tensors(tmp_path / name / "delta.safetensors")[0] for name in ("whole", "cut")]
    assert all(torch.equal(pair[0][name], pair[1][name]) for name in pair[0])


def test_losers_are_freed_and_the_network_is_untouched(hubert: Path, tones: Path, tmp_path: Path) -> None:
    session = Session(recipe_of(hubert, tones, {"candidates": MIXED, "rungs": [0.3]}))
    contest = Contest(session, session.data(None), 0, tmp_path)
    contest.start(Feed(session.backbone, None))
    trainers = [weakref.ref(each.trainer) for each in contest.entrants]
    for event in contest.run():
        if isinstance(event, Judged):
            break
    gc.collect()
    assert sum(ref() is not None for ref in trainers) == 1
    before = backbones.load(str(hubert)).core.state_dict()
    assert all(torch.equal(before[name], tensor) for name, tensor in session.backbone.core.state_dict().items())


def test_candidates_start_with_one_head_and_one_choice(hubert: Path, tones: Path, tmp_path: Path) -> None:
    session = Session(recipe_of(hubert, tones, {"candidates": [*CHILDREN, "lora(rank=2)"], "rates": [1, 3]}))
    contest = Contest(session, session.data(None), 0, tmp_path)
    assert [(each.recipe.method, each.rate) for each in contest.entrants][:3] == [
        (CHILDREN[0], 1.0),
        (CHILDREN[0], 3.0),
        (CHILDREN[1], 1.0),
    ]
    heads = [model.head.state_dict() for model in contest.models]
    assert all(torch.equal(heads[0][name], head[name]) for head in heads for name in heads[0])
    contest.start(Feed(session.backbone, None))
    rates = [each.trainer.optimizer.param_groups[0]["peak"] for each in contest.entrants]
    assert rates == pytest.approx([1e-4, 3e-4] * 3 + [1e-3, 3e-3])
    places = [_places(model) for model in contest.models[:6:2]]
    for small, large in ((2, 1), (1, 0)):
        assert all(set(index) <= set(places[large][name]) for name, index in places[small].items())
    assert contest.batches == 2  # measured once for all three


def _places(model: Any) -> dict[str, list[int]]:
    return {name: module.index.tolist() for name, module in model.delta.edits.items()}


def test_ad_tuning_is_a_search_over_children(hubert: Path, tones: Path, tmp_path: Path) -> None:
    recipe = recipe_of(hubert, tones, method="ad_tuning(keep=[0.2, 0.02], strive=0.4, batches=3)")
    planned = plan(recipe)
    assert list(planned.candidates.values()) == sorted(planned.candidates.values(), reverse=True)
    assert planned.parameters["delta"] == max(planned.candidates.values())
    result = pegbox.train(recipe, tmp_path / "run")
    assert [row["method"].partition(",")[0] for row in result["search"]["table"]] == [
        "child(keep=0.2",
        "child(keep=0.02",
    ]
    assert len(json.loads((tmp_path / "run" / "importance.json").read_text())) == 2
    with pytest.raises(RecipeError, match="already finished"):
        pegbox.train(recipe, tmp_path / "run")


def test_a_search_stands_alone(hubert: Path, tones: Path) -> None:
    with pytest.raises(RecipeError, match="cannot be part of"):
        plan(recipe_of(hubert, tones, method="ad_tuning + lora"))
    with pytest.raises(RecipeError, match="use it in a recipe"):
        pegbox.attach(backbones.load(str(hubert)), "ad_tuning")
    with pytest.raises(RecipeError, match="no linear module"):
        plan(recipe_of(hubert, tones, {"candidates": ["lora", 'lora(at=["wave"])']}))


def test_auto_takes_the_largest_of_each_kind_that_fits(hubert: Path, tones: Path) -> None:
    recipe = recipe_of(hubert, tones, method="auto(budget=0.02)")
    planned = plan(recipe)
    most = 0.02 * planned.parameters["backbone"]
    assert all(size <= most for size in planned.candidates.values()) and "weighted_sum" in planned.candidates
    kinds = [spec.partition("(")[0] for spec in planned.candidates]
    assert len(set(kinds)) == len(kinds) >= 4
    (rank,) = (int(spec[10:-1]) for spec in planned.candidates if spec.startswith("lora(rank="))
    assert plan(recipe_of(hubert, tones, method=f"lora(rank={2 * rank})")).parameters["delta"] > most
    one, several = (
        plan(recipe_of(hubert, tones, method=f"auto(budget=0.3{rest})")).candidates for rest in ("", ", sizes=3")
    )
    for kind, least in (("lora(", 2), ("child(", 3), ("bitfit", 1), ("weighted_sum", 1)):
        trained = [count for spec, count in several.items() if spec.startswith(kind)]
        assert least <= len(trained) <= 3
        assert trained[0] == next(size for spec, size in one.items() if spec.startswith(kind))
        assert all(4 * later <= earlier for earlier, later in pairwise(trained))
    with pytest.raises(RecipeError, match="at least the largest form"):
        Auto(sizes=0)
    fewer = plan(recipe_of(hubert, tones, method="auto(budget=0.02, kilobytes=1)"))
    assert 0 < max(fewer.candidates.values()) <= 250
    assert list(plan(recipe_of(hubert, tones, method="auto(budget=0)")).candidates) == ["weighted_sum"]
    with pytest.raises(RecipeError, match="share of the backbone"):
        plan(recipe_of(hubert, tones, method="auto(budget=2)"))


def test_tune_leaves_one_model_and_says_why(hubert: Path, tones: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    corpus, task = f'folder(root="{tones}", valid=0.2, test=0.2)', 'classify(label="class", projection=8)'
    command = ["tune", "--backbone", str(hubert), "--budget", "2%", "--task", task, "--corpus", corpus]
    done = CliRunner().invoke(app, [*command, "--out", str(out), "--set", "train.steps=20"])
    assert done.exit_code == 0, done.output
    result = json.loads((out / "result.json").read_text())
    said = " ".join(done.output.split())
    assert f"{result['search']['chosen']}" in said and "goes on: at the last rung it had" in said
    assert len(result["search"]["table"]) == 2 * len({row["method"] for row in result["search"]["table"]})
    clip = next(path for path in tones.rglob("*") if path.is_file())
    assert pegbox.load(out).predict([clip])[0]["said"] == pegbox.load(out).predict([clip])[0]["said"]
    wrong = CliRunner().invoke(app, [*command[:4], "much", *command[5:], "--out", str(out)])
    assert isinstance(wrong.exception, RecipeError) and "a share such as" in str(wrong.exception)


def test_a_candidate_that_does_not_train_loses(hubert: Path, tones: Path, tmp_path: Path) -> None:
    search = {"candidates": ["lora(rank=2)"], "rates": [1e30, 1.0], "rungs": [0.4]}
    result = pegbox.train(recipe_of(hubert, tones, search), tmp_path / "run")
    assert result["search"]["rate"] == 1.0
    row = result["search"]["table"][0]
    assert "the loss is nan" in row["failed"] and row["scores"] == [None]
    with pytest.raises(NonFiniteError):
        pegbox.train(recipe_of(hubert, tones, search | {"rates": [1e30, 1e29]}), tmp_path / "none")


class Ticks:
    """A clock that a second has gone by each time somebody looks at it."""

    def __init__(self, start: float = 0.0) -> None:
        self.now = start

    def __call__(self) -> float:
        self.now += 1
        return self.now


def limited(hubert: Path, tones: Path, folder: Path, clock: Ticks) -> Contest:
    """Returns a started contest of three that may take ten seconds, half of them until the rung."""
    search = {"candidates": CHILDREN, "rungs": [0.5], "minutes": 10 / 60}
    session = Session(recipe_of(hubert, tones, search, train={"steps": 1000, "warmup": 0.0}))
    contest = Contest(session, session.data(None), 0, folder, clock)
    contest.start(Feed(session.backbone, None))
    return contest


def test_where_time_is_limited_rungs_and_rates_follow_it(hubert: Path, tones: Path, tmp_path: Path) -> None:
    contest = limited(hubert, tones, tmp_path, Ticks())
    seen = list(contest.run())
    tried = [(e.candidate, e.event.step) for e in seen if isinstance(e, Tried) and isinstance(e.event, Step)]
    assert tried == [(candidate, step) for step in range(1, 6) for candidate in range(3)], "no entrant has more turns"
    (rung,) = (e for e in seen if isinstance(e, Judged))
    assert len(rung.kept) == 1
    after = seen[seen.index(rung) + 1 :]
    steps = [e for e in after if isinstance(e, Step)]
    assert [e.progress for e in steps] == sorted(e.progress for e in steps) and steps[-1].progress == 1
    assert steps[-1].step < 20 and isinstance(after[-1], Stopped) and after[-1].reason == "done"
    assert isinstance(after[-2], Validated) and after[-2].step == steps[-1].step == after[-1].step
    trainer = contest.winner.trainer
    assert trainer is not None and {group["lr"] for group in trainer.optimizer.param_groups} == {0.0}
    contest.leave()


def test_a_resumed_contest_goes_on_with_what_time_is_left(hubert: Path, tones: Path, tmp_path: Path) -> None:
    first = limited(hubert, tones, tmp_path, Ticks())
    for event in first.run():
        if isinstance(event, Judged):
            break
    first.leave()
    again = limited(hubert, tones, tmp_path, Ticks(1e6))
    steps = [event for event in again.run() if isinstance(event, Step)]
    assert steps[0].step == 4 and steps[0].progress == 0.5, "from the state of the third step, half of the time gone"
    assert 10 <= again.allowance.spent < 15 and steps[-1].progress == 1
    again.leave()


def test_time_that_is_never_used_up_changes_nothing(hubert: Path, tones: Path, tmp_path: Path) -> None:
    search = {"candidates": CHILDREN[1:], "rungs": [0.5]}
    free = pegbox.train(recipe_of(hubert, tones, search), tmp_path / "free")
    limit = pegbox.train(recipe_of(hubert, tones, search | {"minutes": 1e6}), tmp_path / "limited")
    assert limit["scores"] == free["scores"] and limit["search"] == free["search"]


@pytest.mark.parametrize("minutes", [-1.0, math.nan, math.inf])
def test_minutes_that_are_none_are_refused(minutes: float, hubert: Path, tones: Path) -> None:
    with pytest.raises(RecipeError, match=r"search\.minutes"):
        recipe_of(hubert, tones, {"candidates": CHILDREN, "minutes": minutes})
    with pytest.raises(RecipeError, match="minutes are not negative"):
        Auto(minutes=minutes)


def test_a_recipe_without_a_limit_keeps_the_identity_it_had(hubert: Path, tones: Path) -> None:
    free, limit = (recipe_of(hubert, tones, {"candidates": CHILDREN} | rest) for rest in ({}, {"minutes": 1.0}))
    before = dumps(free)
    for younger in (
        "gain = 0.0",
        "minutes = 0.0",
        "mask_bands = 0",
        "mask_frames = 0",
        "balanced = false",
        "head_epochs = 0",
        "checkpointing = false",
        "longer_than = 0.0",
        "silence = 0.0",
        "clips = 0",
    ):
        assert f"{younger}\n" in before
        before = before.replace(f"{younger}\n", "")
    assert free.digest == blake2b(before.encode(), digest_size=8).hexdigest() != limit.digest


@pytest.mark.parametrize("method", ["ad_tuning", "auto"])
def test_half_values_and_minutes_reach_the_candidates(method: str, hubert: Path, tones: Path) -> None:
    rest = ", minutes=2.0, budget=0.3" if method == "auto" else ""
    for values in ("single", "half"):
        search = resolve(recipe_of(hubert, tones, method=f'{method}(values="{values}"{rest})')).search
        children = [spec for spec in search.candidates if spec.startswith("child(")]
        assert children and all(('values="half"' in spec) is (values == "half") for spec in children)
        assert search.minutes == (2.0 if rest else 0.0)


def test_tune_takes_minutes_and_refuses_what_is_none(tmp_path: Path) -> None:
    words = ["tune", "--task", 'classify(label="class")', "--corpus", 'folder(root="x")', "--out", str(tmp_path)]
    refused = CliRunner().invoke(app, [*words, "--minutes", "-1"])
    assert isinstance(refused.exception, RecipeError) and "minutes are not negative" in str(refused.exception)
