"""Tagging: its loss and scores as written out, clips without a tag, and mixed sounds that it learns."""

from pathlib import Path

import numpy as np
import pytest
import torch
from _learnt import few, learnt
from sklearn.metrics import average_precision_score, roc_auc_score
from torch import nn

from pegbox import tasks
from pegbox.corpora.synthetic.sounds import Sounds
from pegbox.errors import CorpusError, RecipeError
from pegbox.tasks.tag import d_prime

TASK = tasks.build('tag(label="events")')
ROWS = [{"events": "rain,dog"}, {"events": "dog"}, {"events": ""}, {"other": "x"}]


def test_tags_are_those_of_training_and_a_clip_may_have_none() -> None:
    assert TASK.vocabulary({"train": ROWS, "valid": ROWS[2:]}) == ("dog", "rain")
    assert [TASK.truth(row) for row in ROWS] == ["dog,rain", "dog", "", ""]
    spaced = tasks.build('tag(label="events", separator=";")')
    assert spaced.truth({"events": " b ;a; ;a"}) == "a;b"


def test_the_loss_is_the_mean_over_clips_and_tags() -> None:
    logits = torch.randn(4, 2)
    wanted = torch.tensor([[1.0, 1], [1, 0], [0, 0], [0, 0]])
    each = nn.functional.softplus(logits) - logits * wanted
    assert torch.allclose(TASK.loss(logits, torch.ones(4), ROWS, ("dog", "rain")), each.mean())


def test_what_is_said_is_above_the_threshold() -> None:
    logits = torch.tensor([[3.0, 0.5], [-3.0, -4.0]], dtype=torch.bfloat16)
    rows = TASK.decode(logits, torch.ones(2), ("dog", "rain"))
    assert [row["said"] for row in rows] == ["dog,rain", ""]
    strict = tasks.build('tag(label="events", threshold=0.9)')
    assert strict.decode(logits, torch.ones(2), ("dog", "rain"))[0]["said"] == "dog"
    assert rows[0]["probabilities"]["dog"] == pytest.approx(1 / (1 + np.exp(-3)))


def test_scores_are_sklearns_means_over_the_classes_that_vary() -> None:
    draw = np.random.default_rng(0)
    wanted, given = draw.random((30, 4)) < [0.3, 0.6, 0.0, 1.0], draw.random((30, 4))
    rows = [
        {"true": ",".join(n for n, there in zip("abcd", w, strict=True) if there), "said": "",
         "probabilities": dict(zip("abcd", map(float, g), strict=True))}
        for w, g in zip(wanted, given, strict=True)
    ]  # fmt: skip
    found = TASK.score(rows)
    area = roc_auc_score(wanted[:, :2], given[:, :2], average="macro")
    assert found["mAP"] == pytest.approx(average_precision_score(wanted[:, :2], given[:, :2], average="macro"))
    assert found["mAUC"] == pytest.approx(area) and found["d_prime"] == pytest.approx(d_prime(area))


def test_d_prime_by_the_normal_table() -> None:
    assert d_prime(0.5) == pytest.approx(0) and d_prime(0.95) == pytest.approx(2.3262, abs=1e-4)
    assert d_prime(1.0) == pytest.approx(-d_prime(0.0)) and np.isfinite(d_prime(1.0))


def test_rows_that_only_say_can_be_scored_and_constant_ones_not() -> None:
    rows = [{"true": "dog", "said": "dog"}, {"true": "", "said": "dog"}]
    assert TASK.score(rows) == pytest.approx({"mAP": 0.5, "mAUC": 0.5, "d_prime": 0.0})
    with pytest.raises(CorpusError, match="2 clips, and no tag that some have and others not"):
        TASK.score([{"true": "", "said": "dog"}, {"true": "", "said": ""}])


def test_wrong_labels_and_options_are_refused() -> None:
    with pytest.raises(CorpusError, match=r"no label 'evnts'; did you mean 'events'"):
        tasks.build('tag(label="evnts")').vocabulary({"train": ROWS})
    with pytest.raises(CorpusError, match=r"'test' has 1 values of 'events' that training lacks: \['cat'\]"):
        TASK.vocabulary({"train": ROWS, "test": [{"events": "cat,dog"}]})
    for wrong in ("separator=''", "threshold=1.0", "projection=0"):
        with pytest.raises(RecipeError, match=r"tag\(|Tag\("):
            tasks.build(f'tag(label="events", {wrong})')


def test_it_learns_mixed_sounds(tmp_path: Path) -> None:
    corpus = few(Sounds, tmp_path / "clips", {"train": 48, "valid": 12, "test": 24}, mixed=True)
    result = learnt('tag(label="events")', corpus, tmp_path / "run", epochs=30, head_lr=0.003)
    assert result["scores"]["test"]["mAUC"] > 0.65 and result["cache"].startswith("means")
