"""Regression: losses and scores as written out, units of training, wrong numbers, and pitch that it learns."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from _learnt import learnt

import pegbox
from pegbox import tasks
from pegbox.errors import CorpusError, RecipeError

ONE, TWO = tasks.build('regress(label="x")'), tasks.build('regress(label=["x", "y"])')
ROWS = [{"x": "1", "y": "-1e3"}, {"x": "3.0", "y": "0"}, {"x": " 5 ", "y": "1e3"}]
NAMES = TWO.vocabulary({"train": ROWS})


def said(*pairs: tuple[float, float]) -> list[dict[str, str]]:
    return [{"true": repr(true), "said": repr(value)} for true, value in pairs]


def test_numbers_are_learnt_in_deviations_from_the_training_mean() -> None:
    assert [json.loads(name) for name in NAMES] == [
        ["x", 3.0, pytest.approx(math.sqrt(8 / 3))],
        ["y", 0.0, pytest.approx(1000 * math.sqrt(2 / 3))],
    ]
    logits = torch.tensor([[1.0, -1.0], [0.0, 0.5]])
    first, second = TWO.decode(logits, torch.ones(2), NAMES)
    assert first["values"] == pytest.approx({"x": 3 + math.sqrt(8 / 3), "y": -1000 * math.sqrt(2 / 3)})
    assert second["said"].split("|")[0] == "3" and TWO.truth(ROWS[2]) == "5.0|1000.0"
    right = torch.tensor([[-2 / math.sqrt(8 / 3), -1 / math.sqrt(2 / 3)], [0, 0]])
    assert float(TWO.loss(right, torch.ones(2), ROWS[:2], NAMES)) == pytest.approx(0, abs=1e-12)


def test_concordance_and_squared_error_by_hand() -> None:
    found = ONE.score(said((1, 2), (2, 2), (3, 4), (4, 6)))
    true, given = np.array([1.0, 2, 3, 4]), np.array([2.0, 2, 4, 6])
    covariance = ((true - 2.5) * (given - 3.5)).mean()
    assert found["ccc"] == pytest.approx(2 * covariance / (true.var() + given.var() + 1))
    assert found["pearson"] == pytest.approx(np.corrcoef(true, given)[0, 1])
    assert found["spearman"] == pytest.approx(np.corrcoef([1, 2, 3, 4], [1.5, 1.5, 3, 4])[0, 1])
    assert found["mse"] == pytest.approx((1 + 0 + 1 + 4) / 4)


def test_the_concordance_loss_is_one_minus_the_score_and_has_a_slope() -> None:
    task, logits = tasks.build('regress(label="x", objective="ccc")'), torch.randn(3, 1, requires_grad=True)
    names = task.vocabulary({"train": ROWS})
    loss = task.loss(logits, torch.ones(3), ROWS, names)
    rows = [
        {"true": str(t), "said": str(s)} for t, s in zip((-1.2247449, 0, 1.2247449), logits[:, 0].tolist(), strict=True)
    ]
    assert float(loss.detach()) == pytest.approx(1 - task.score(rows)["ccc"], abs=1e-5)
    for count in (3, 1):
        (slope,) = torch.autograd.grad(task.loss(logits[:count], torch.ones(count), ROWS[:count], names), logits)
        assert slope[:count].abs().min() > 0


def test_what_is_constant_has_no_correlation() -> None:
    found = ONE.score(said((1, 2), (2, 2), (3, 2)))
    assert found["ccc"] == 0 and math.isnan(found["pearson"]) and math.isnan(found["spearman"])
    assert ONE.score(said((1, 1)))["mse"] == 0


def test_each_column_is_scored_and_their_mean() -> None:
    rows = [{"true": f"{a}|{b}", "said": f"{a}|{-b}"} for a, b in ((1, 1), (2, 2), (3, 3))]
    found = TWO.score(rows)
    assert (found["pearson_x"], found["pearson_y"], found["pearson"]) == pytest.approx((1, -1, 0), abs=1e-9)
    assert len(found) == 12


@pytest.mark.parametrize("text", ["low", "nan", "inf", "1,5"])
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(CorpusError, match=rf"the label 'x' is '{text}', no finite number"):
        ONE.vocabulary({"train": ROWS, "test": [{"x": text}]})
    with pytest.raises(CorpusError, match=r"'x' is 2\.0 in all 2 clips"):
        ONE.vocabulary({"train": [{"x": "2"}, {"x": "2.0"}]})
    for wrong in ('label=["a", "a"]', "label=[]", 'label="x", projection=0'):
        with pytest.raises(RecipeError, match="regress"):
            tasks.build(f"regress({wrong})")


@pytest.mark.parametrize("objective", ["mse", "ccc"])
def test_it_learns_pitch(objective: str, tmp_path: Path) -> None:
    draw, lines = np.random.default_rng(0), []
    for number in range(48):
        octaves = draw.uniform(0, 4)
        tone = np.sin(2 * np.pi * 150 * 2**octaves * np.arange(6_000) / 16_000)
        soundfile.write(tmp_path / f"{number}.wav", 0.3 * tone + 0.02 * draw.standard_normal(6_000), 16_000)
        lines.append({"path": f"{number}.wav", "octaves": f"{octaves:.3f}"})
    (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, lines)))
    corpus = f'manifest(path="{tmp_path}/m.jsonl", valid=0.15, test=0.25)'
    task = f'regress(label="octaves", objective="{objective}")'
    result = learnt(task, corpus, tmp_path / "run", epochs=25, head_lr=0.003)
    found = result["scores"]["test"]
    assert found["ccc"] > 0.6 and found["pearson"] > 0.6
    (row,) = pegbox.load(tmp_path / "run").predict([tmp_path / "0.wav"])
    assert float(row["said"]) == pytest.approx(row["values"]["octaves"], rel=1e-4)
