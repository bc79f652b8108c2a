"""What a matrix will cost: efforts of runs, paces of a machine, and the sums that follow from both."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from _recorded import record

from pegbox.bench import matrix, outlook
from pegbox.bench.outlook import Outlook, look, total
from pegbox.bench.store import Store
from pegbox.recipe import make
from pegbox.training import pace
from pegbox.training.pace import Pace
from pegbox.training.plans import plan

UNIT = Pace(stem=1.0, block=1.0, taught=1.0, head=0.0, step=1.0)


@pytest.fixture
def outlooks(hubert: Path, tones: Path) -> list[Outlook]:
    task = {"name": "pitch", "task": 'classify(label="class")', "corpus": f'folder(root="{tones}")'}
    settings = {"name": "x", "backbones": [str(hubert)], "methods": ["bitfit", "layernorm"], "seeds": [0, 1]}
    made = matrix.make(settings | {"tasks": [task], "train": {"epochs": 2}})
    return list(look(matrix.groups(made)))


def effort(hubert: Path, tones: Path, **changes: Any) -> Any:
    base = {"backbone": str(hubert), "task": 'classify(label="class")', "corpus": f'folder(root="{tones}")'}
    return plan(make(base | {"train": {"epochs": 2}} | changes)).effort


def test_an_effort_knows_what_is_frozen_cached_and_read_as_means(hubert: Path, tones: Path) -> None:
    probe, lora = (effort(hubert, tones, method=method) for method in ("weighted_sum", "lora(rank=2)"))
    assert probe.means and probe.taught == 0 and not lora.means and lora.frozen == 0 and lora.taught == probe.frozen
    assert lora.heard == probe.heard and lora.filled > 0 and 0 < lora.share < 1
    full = effort(hubert, tones, method="full")
    assert full.stem and full.filled == 0 and full.share > 0.9
    upper = effort(hubert, tones, method='lora(rank=2, blocks="1:")')
    assert upper.frozen == 1 and upper.taught == lora.taught - 1


def test_a_search_takes_the_turns_of_all_its_candidates(hubert: Path, tones: Path) -> None:
    alone = effort(hubert, tones, method="bitfit").heard
    search = {"candidates": ["bitfit", "layernorm", "ia3", "lora"], "rungs": [0.1, 0.5]}
    assert effort(hubert, tones, search=search).heard == pytest.approx(alone * (4 * 0.1 + 2 * 0.4 + 0.5))


def test_a_search_with_minutes_costs_no_more_than_them(hubert: Path, tones: Path) -> None:
    search = {"candidates": ["bitfit", "layernorm"], "rungs": [0.1]}
    whole = UNIT.run(effort(hubert, tones, search=search))
    short, long = (effort(hubert, tones, search=search | {"minutes": share * whole / 60}) for share in (0.5, 2))
    assert UNIT.run(short) == pytest.approx(whole / 2) and UNIT.run(long) == pytest.approx(whole)


def test_a_run_costs_what_lies_above_its_cut_and_without_a_cache_all(hubert: Path, tones: Path) -> None:
    cached = effort(hubert, tones, method="bitfit")
    direct = effort(hubert, tones, method="bitfit", cache={"use": False})
    spent = cached.heard + cached.looked
    assert UNIT.run(cached) == pytest.approx(cached.taught * (cached.heard * (1 + cached.share / 2) + cached.looked))
    assert UNIT.run(direct) - UNIT.run(cached) == pytest.approx(spent * (1 + direct.frozen))
    assert UNIT.fill(direct) == 0 < UNIT.fill(cached)
    assert UNIT.run(effort(hubert, tones, method="weighted_sum")) == effort(hubert, tones, method="weighted_sum").steps


def test_a_cache_that_runs_share_is_filled_once(outlooks: list[Outlook], tmp_path: Path) -> None:
    found = total(outlooks, Store(tmp_path), 1, lambda recipe, beside: UNIT)
    plans = [each.plan.effort for each in outlooks if each.plan]
    runs = sum(2 * UNIT.run(each) for each in plans)
    assert found.minutes * 60 == pytest.approx(runs + UNIT.fill(plans[0])) and not found.measured
    assert total(outlooks, Store(tmp_path), 4, lambda recipe, beside: UNIT).minutes == pytest.approx(found.minutes / 4)


def test_finished_runs_correct_the_estimate(outlooks: list[Outlook], tmp_path: Path) -> None:
    store, first = Store(tmp_path), outlooks[0]
    assert first.plan is not None
    guessed = UNIT.run(first.plan.effort) + UNIT.fill(first.plan.effort)
    record(store.place(first.cells[0]), cell=first.cells[0].fields, seconds=3 * guessed - 1)  # and one for the test
    found = total(outlooks, store, 1, lambda recipe, beside: UNIT)
    rest = sum(UNIT.run(each.plan.effort) for each in (first, *outlooks[1:], *outlooks[1:]) if each.plan)
    assert found.measured and found.left == 3 and found.minutes * 60 == pytest.approx(3 * rest)


def test_nothing_is_timed_where_nothing_is_left(outlooks: list[Outlook], tmp_path: Path) -> None:
    for each in outlooks:
        for cell in each.cells:
            record(Store(tmp_path).place(cell), cell=cell.fields)

    def never(recipe: Any, beside: bool) -> Pace:
        raise AssertionError("no pace is needed")

    assert total(outlooks, Store(tmp_path), 1, never).minutes == 0


@pytest.mark.parametrize("task", ['classify(label="class")', 'classify(label="class", network="normed")'])
def test_the_pace_of_this_machine_is_measured_once_a_network_and_task(
    task: str, hubert: Path, tones: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = {"backbone": str(hubert), "task": task, "corpus": f'folder(root="{tones}")'}
    paces, before = outlook.here(1), torch.get_num_threads()
    found = paces(make(base | {"method": "bitfit"}), False)
    assert min(found.stem, found.block, found.taught, found.head) > 0 and torch.get_num_threads() == before
    monkeypatch.setattr(pace, "network", None)  # a second measurement would fail
    assert paces(make(base | {"method": "layernorm"}), False) == found


def test_what_stands_beside_the_network_is_timed_with_the_head(hubert: Path, tones: Path) -> None:
    base = {"backbone": str(hubert), "task": 'classify(label="class")', "corpus": f'folder(root="{tones}")'}
    made = plan(make(base | {"method": "ladder(reduction=4)"})).effort
    assert made.beside and made.taught == 0 and not effort(hubert, tones, method="bitfit").beside
    paces = outlook.here(1)
    plain, side = (paces(make(base | {"method": "ladder(reduction=4)"}), beside) for beside in (False, True))
    assert side.head > plain.head and side.block == plain.block


def test_a_plan_tells_its_effort_as_plain_numbers(hubert: Path, tones: Path) -> None:
    assert json.loads(json.dumps(effort(hubert, tones, method="bitfit").__dict__))["taught"] > 0
