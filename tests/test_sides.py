"""Methods beside the network: alive, cached as computed, no backward pass through the backbone, whole on disk."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import pegbox
from pegbox import backbones, methods, tasks
from pegbox.delta import Delta
from pegbox.errors import RecipeError
from pegbox.training.feed import Feed
from pegbox.training.prepare import assemble, corpus_rows, data_of

SIDES = ("l_adapter(size=8)", "inter_adapter(size=4)", "ladder(reduction=2, heads=2)")
BOTH = (  # beside the network and inside its blocks
    "elp(encoder=4, layer=8, length=2)",
    "inner_inter(inner=4, inter=3)",
    "unipet_spk(length=2, inner=4, inter=3)",
    f"lora(rank=2) + {SIDES[0]}",
)


def recipe(hubert: Path, tones: Path, method: str, **more: Any) -> dict[str, Any]:
    return {
        "backbone": str(hubert),
        "method": method,
        "task": 'classify(label="class", projection=8)',
        "corpus": f'folder(root="{tones}")',
        "train": {"steps": 6, "validate_steps": 3, "batch_clips": 8},
        **more,
    }


@pytest.mark.parametrize("method", [*SIDES, *BOTH])
def test_a_run_is_alive_cached_as_direct_and_reloads(hubert: Path, tones: Path, tmp_path: Path, method: str) -> None:
    cached = pegbox.train(recipe(hubert, tones, method), tmp_path / "cached")
    direct = pegbox.train(recipe(hubert, tones, method, cache={"use": False}), tmp_path / "direct")
    assert cached["scores"] == direct["scores"]
    assert cached["cache"].startswith("states") and direct["cache"] == "off by the recipe"
    losses = [
        [
            row["loss"]
            for row in map(json.loads, (tmp_path / name / "log.jsonl").read_text().splitlines())
            if "loss" in row
        ]
        for name in ("cached", "direct")
    ]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)
    lines = [json.loads(line) for line in (tmp_path / "cached" / "predictions.jsonl").read_text().splitlines()]
    wanted = next(line for line in lines if line["id"].startswith("high"))
    said = pegbox.load(tmp_path / "cached").predict(sorted((tones / "high").glob("*.flac")))
    by_name = {Path(row["id"]).stem: row["probabilities"] for row in said}
    assert by_name[Path(wanted["id"]).stem] == pytest.approx(wanted["probabilities"], abs=1e-4)


@pytest.mark.parametrize("method", SIDES)
def test_nothing_is_back_propagated_and_padding_changes_nothing(hubert: Path, tones: Path, method: str) -> None:
    made = pegbox.Recipe(**{k: v for k, v in recipe(hubert, tones, method).items() if k != "train"})
    backbone, task = backbones.load(str(hubert)), tasks.build(made.task)
    data = data_of(corpus_rows(made, None), task, backbone)
    model = assemble(made, backbone, task, data.vocabulary)
    feed = Feed(backbone, None)
    rows = data.rows["train"][:4]
    together = model.eval()(feed.batch(rows))
    alone = torch.cat([model(feed.batch([row])) for row in rows])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-3)
    entered: list[bool] = []
    backbone.blocks[0].register_forward_hook(lambda module, args, output: entered.append(output.requires_grad))
    model.train()(feed.batch(rows)).sum().backward()
    assert entered == [False]


def test_what_cannot_train_is_refused(hubert: Path) -> None:
    with pytest.raises(RecipeError, match="here is no head"):
        pegbox.attach(pegbox.load_backbone(str(hubert)), "ladder(reduction=2, heads=2)")
    network = pegbox.load_backbone(str(hubert))
    with pytest.raises(RecipeError, match="two methods of a union"):
        Delta(network.core, methods.plan(methods.parse(" + ".join(SIDES[:2])), network.sites()))
    for spec in (
        "l_adapter(size=0)",
        "inter_adapter(size=99)",
        "elp(length=0)",
        "inner_inter(inner=0)",
        "ladder(reduction=5)",
        'ladder(blocks="1:")',
    ):
        with pytest.raises(RecipeError):
            methods.plan(methods.parse(spec), network.sites())
