"""Child networks that compete choose by one measurement, each exactly what it would choose alone."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import pegbox
from pegbox import backbones, methods
from pegbox.backbones import Backbone
from pegbox.errors import RecipeError
from pegbox.importance import Decided, mass, overlap, select, unpack
from pegbox.recipe import make
from pegbox.training.plans import plan
from pegbox.training.probe import REPORT, Probe

KEEP = (0.3, 0.1, 0.01, 0.001)


class Drawn(Probe):
    """Gradients drawn by the number of the batch, heavy-tailed; batches and their losses are counted."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__(backbone, [], None, 0)  # type: ignore[arg-type]
        self.losses = 0

    def _groups(self, alone: bool, most: int) -> Iterator[Any]:
        yield from range(most)

    def _loss(self, group: Any) -> Tensor:
        self.losses += 1
        draws = torch.Generator().manual_seed(group)
        pool = [getattr(site.owner, name) for site, name in self.model.sites().pool()]  # type: ignore[operator]
        return torch.stack([(each * torch.randn(each.shape, generator=draws) ** 5).sum() for each in pool]).sum()


@pytest.fixture
def backbone(hubert: Path) -> Backbone:
    return backbones.load(str(hubert))


def decided(backbone: Backbone, specs: list[str]) -> tuple[list[Decided], Drawn]:
    probe = Drawn(backbone)
    found = methods.decide({spec: methods.parse(spec) for spec in specs}, backbone.sites(), probe)
    return [found[spec]["child"] for spec in specs], probe


def the_same(first: Decided, second: Decided) -> bool:
    assert first.tensors.keys() == second.tensors.keys()
    return first.report == second.report and all(
        torch.equal(first.tensors[n], second.tensors[n]) for n in first.tensors
    )


@pytest.mark.parametrize(
    "options",
    [
        "batches=3",
        'batches=3, threshold="percentile"',
        'batches=3, scope="tensor"',
        'choose="gradient", batches=4',
        "batches=40, stable=0.55",
        'choose="magnitude"',
    ],
)
def test_a_child_chooses_among_rivals_what_it_chooses_alone(options: str, backbone: Backbone) -> None:
    specs = [f"child(keep={keep}, {options})" for keep in KEEP]
    specs.append(specs[0].removesuffix(")") + ', values="half", clip="parent")')
    together, probe = decided(backbone, specs)
    for spec, one in zip(specs, together, strict=True):
        (alone,), own = decided(backbone, [spec])
        assert the_same(alone, one)
        assert own.batches <= probe.batches
    assert probe.losses == probe.batches <= 40


def test_what_is_chosen_is_a_selection_of_one_share_and_its_report_of_all(backbone: Backbone) -> None:
    """By the same functions, called once for each share on the importance of one look."""
    found, _ = decided(backbone, [f"child(keep={keep}, batches=5)" for keep in KEEP])
    pool = {f"{s.name}:{t}".replace(".", "/"): getattr(s.owner, t) for s, t in backbone.sites().pool()}
    (wish,) = (each.method for each in methods.parse("child(batches=5)"))
    (looked,) = Drawn(backbone).importance(pool, wish)
    held = {f"{share:g}": mass(looked, [share])[share] for share in (1e-4, 1e-3, 1e-2, 0.1, 0.3, 1.0)}
    for keep, one in zip(KEEP, found, strict=True):
        (wanted,) = select(looked, [keep])
        places = {
            name: (one.tensors[f"{name}.low"], one.tensors[f"{name}.high"], pool[name].numel()) for name in wanted
        }
        assert len(one.tensors) == 2 * len(wanted)
        assert all(torch.equal(unpack(*places[name]), wanted[name]) for name in wanted)
        assert one.report["mass"] == held and one.report["batches"] == 5


def test_each_rival_stops_where_its_own_choice_is_stable(backbone: Backbone) -> None:
    """The same numbers as from importance added up again for each number of batches."""
    found, probe = decided(backbone, [f"child(keep={keep}, batches=64, stable=0.6)" for keep in KEEP])
    pool = {f"{s.name}:{t}": getattr(s.owner, t) for s, t in backbone.sites().pool()}
    stops = []
    for keep in KEEP:
        looks: list[dict[str, Tensor]] = []
        for batches in (8, 16, 32, 64):
            (wish,) = (each.method for each in methods.parse(f"child(batches={batches})"))
            (looked,) = Drawn(backbone).importance(pool, wish)
            looks += select(looked, [keep])
            if len(looks) > 1 and overlap(looks[-2], looks[-1]) >= 0.6:
                break
        stops.append(batches)
    assert [one.report["batches"] for one in found] == stops
    assert len(set(stops)) > 1 and probe.losses == max(stops)


def test_ad_tuning_stops_when_choices_are_stable(hubert: Path, tones: Path, tmp_path: Path) -> None:
    """Any overlap is content with the first two looks, after eight batches and sixteen."""
    method = "ad_tuning(keep=[0.2, 0.02], strive=0.4, batches=0, stable=0.01)"
    corpus = f'folder(root="{tones}", valid=0.2, test=0.2)'
    recipe = {"backbone": str(hubert), "method": method, "task": 'classify(label="class", projection=8)'}
    result = pegbox.train(
        {**recipe, "corpus": corpus, "train": {"steps": 4, "validate_steps": 2, "batch_clips": 1}}, tmp_path / "run"
    )
    reports = json.loads((tmp_path / "run" / REPORT).read_text())
    assert result["search"]["batches"] == 16
    assert len(reports) == 2 and all("stable=0.01" in spec for spec in reports)
    assert [each["batches"] for each in reports.values()] == [16, 16]


def test_a_share_of_stability_above_one_is_refused(hubert: Path, tones: Path) -> None:
    recipe = {"backbone": str(hubert), "method": "ad_tuning(stable=2)", "task": 'classify(label="class")'}
    with pytest.raises(RecipeError, match="stable is a share from 0 to 1"):
        plan(make({**recipe, "corpus": f'folder(root="{tones}", valid=0.2, test=0.2)'}))
