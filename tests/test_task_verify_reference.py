"""Verification as SUPERB's toolkit judges it: by the test trials themselves, and told so; the clean way leaves them."""

import json
from pathlib import Path
from typing import Any

import pytest

import pegbox
from pegbox import backbones, tasks
from pegbox.errors import CorpusError, RecipeError
from pegbox.recipe import Recipe, make
from pegbox.training.feed import Feed
from pegbox.training.loop import Trainer, Validated
from pegbox.training.plans import plan
from pegbox.training.prepare import corpus_rows, data_of
from pegbox.training.session import Session
from pegbox.training.trials import paired

CLEAN = 'verify(label="class", network="pooled", size=8, objective="ce")'
REFERENCE = CLEAN.replace(")", ', protocol="reference")')


def recipe_of(task: str, hubert: Path, tones: Path, **train: Any) -> Recipe:
    settings = {"epochs": 4, "batch_clips": 8, "head_lr": 1e-2} | train
    corpus = f'folder(root="{tones}", valid=0.2, test=0.3)'
    nouns = {"backbone": str(hubert), "method": "weighted_sum", "task": task, "corpus": corpus}
    return make(nouns | {"train": settings})


def test_validation_clips_are_trained_on_and_test_clips_judge(hubert: Path, tones: Path) -> None:
    backbone, found = backbones.load(str(hubert)), {}
    for spec in (CLEAN, REFERENCE):
        rows = corpus_rows(recipe_of(spec, hubert, tones), None)
        data = data_of(rows, tasks.build(spec), backbone)
        assert all(row.split == split for split, part in data.rows.items() for row in part)
        found[spec] = {split: {row.id for row in part} for split, part in data.rows.items()}
    clean, reference = found.values()
    assert reference["train"] == clean["train"] | clean["valid"] and not reference["train"] & reference["test"]
    assert reference["valid"] == reference["test"] == clean["test"] != clean["valid"]
    with pytest.raises(CorpusError, match="no 'test' rows, by which this task's protocol"):
        data_of([row for row in rows if row.split != "test"], tasks.build(REFERENCE), backbone)


def test_the_lowest_test_score_is_taken_and_told(hubert: Path, tones: Path, tmp_path: Path) -> None:
    looks: list[float] = []
    recipe = recipe_of(REFERENCE, hubert, tones)
    (note,) = [note for note in plan(recipe).notes if "clips that are tested" in note]
    result = pegbox.train(
        recipe,
        tmp_path / "run",
        lambda event, _: looks.extend([event.scores["eer"]] if isinstance(event, Validated) else []),
    )
    assert len(looks) == 4 and result["scores"]["test"]["eer"] == pytest.approx(min(looks), abs=1e-6)
    assert result["scores"]["valid"] == result["scores"]["test"] and result["judged_on"] == "test"
    lines = [json.loads(line) for line in (tmp_path / "run" / "predictions.jsonl").read_text().splitlines()]
    tested = [line for line in lines if line["split"] == "test"]
    assert tasks.build(REFERENCE).score(tested) == pytest.approx(result["scores"]["test"])
    assert len(tested) == len({line["id"] for line in tested}) == result["clips"]["test"]
    assert pegbox.load(tmp_path / "run").evaluate("test") == pytest.approx(result["scores"]["test"], abs=1e-4)
    clean = pegbox.train(recipe_of(CLEAN, hubert, tones, epochs=1), tmp_path / "clean")
    assert clean["judged_on"] == "valid" and note not in plan(recipe_of(CLEAN, hubert, tones)).notes


def test_steps_are_judged_by_the_trials_of_the_corpus(hubert: Path, tones: Path) -> None:
    recipe = recipe_of(REFERENCE, hubert, tones)
    session = Session(recipe)
    data = session.data(None)
    first, *others = data.rows["valid"]
    trials = [(first.id, other.id, other.labels["class"] == first.labels["class"]) for other in others]
    model = session.model(recipe, data, 0, None)
    feed = Feed(session.backbone, None)
    trainer = Trainer(model, feed, (), recipe.train, 0, session.accelerator, trials=trials)
    seen, said = trainer._validate(data.rows["valid"]), trainer.evaluate(data.rows["valid"])
    assert seen.scores == session.task.score(paired(said, trials)) != session.task.score(said)


def test_the_reference_has_no_cohort() -> None:
    with pytest.raises(RecipeError, match=r'verify\(protocol="reference"\)'):
        tasks.build('verify(protocol="reference", normalise="as")')
    assert not tasks.build("verify").peeks and tasks.build('verify(protocol="reference")').peeks
