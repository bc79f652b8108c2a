"""Verification: published sizes, margins, EER and minDCF as written out, trials, score normalisation, and learning."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from _learnt import few, learnt, needs_espeak, size
from scipy.interpolate import interp1d
from scipy.optimize import brentq
from sklearn.metrics import roc_curve

import pegbox
from pegbox import tasks
from pegbox.corpora.synthetic.speakers import Speakers
from pegbox.errors import CorpusError, RecipeError
from pegbox.tasks import _trials
from pegbox.tasks._embedding import XVector, repeated, with_margin
from pegbox.training.trials import paired

SMALL = 'verify(label="voice", network="pooled", size=8, objective="ce")'


def rows_of(*rows: tuple[str, list[float]]) -> list[dict[str, object]]:
    return [{"id": str(n), "true": true, "said": "?", "embedding": vector} for n, (true, vector) in enumerate(rows)]


@pytest.mark.parametrize(("width", "connector"), [(240, 123_392), (768, 393_728), (1024, 524_800)])
def test_the_x_vector_has_superbs_size(width: int, connector: int) -> None:
    with torch.device("meta"):
        head = tasks.build("verify").head(width, tuple(map(str, range(1211))))
    assert size(head) == connector + 5_716_444 + 620_032


@pytest.mark.parametrize(("pooling", "numbers"), [("tokens", 254_907), ("deviation", 353_211)])
def test_the_pooled_head_has_the_size_that_ipet_gives(pooling: str, numbers: int) -> None:
    task = tasks.build(f'verify(network="pooled", objective="ce", pooling="{pooling}")')
    assert size(task.head(768, tuple(map(str, range(1211))))) == numbers


def test_an_embedding_does_not_depend_on_its_neighbours() -> None:
    torch.manual_seed(0)
    network, x = XVector(6, 16).eval(), torch.randn(3, 40, 6)
    together = network(x, torch.tensor([40, 23, 2]))[0]
    for row, count in enumerate((40, 23, 2)):
        torch.testing.assert_close(together[row : row + 1], network(x[row : row + 1, :count], torch.tensor([count]))[0])
    assert together.isfinite().all()
    assert repeated(x, torch.tensor([3, 2, 1]), 5)[0, :, 0].tolist() == x[0, [0, 1, 2, 0, 1], 0].tolist()


def test_margins_as_written_out() -> None:
    cosines, wanted, s = torch.tensor([[0.7, -0.2, 0.1], [0.3, -0.99, 0.5]]), torch.tensor([0, 1]), 30.0
    am = with_margin(cosines, wanted, 0.4, s, angular=False)
    first = -math.log(math.exp(s * 0.3) / (math.exp(s * 0.3) + math.exp(s * -0.2) + math.exp(s * 0.1)))
    loss = torch.nn.functional.cross_entropy(am[:1], wanted[:1])
    assert float(loss) == pytest.approx(first, rel=1e-4)
    aam = with_margin(cosines, wanted, 0.2, s, angular=True)
    assert float(aam[0, 0]) == pytest.approx(s * math.cos(math.acos(0.7) + 0.2), rel=1e-5)
    assert float(aam[1, 1]) == pytest.approx(s * (-0.99 - 0.2 * math.sin(0.2)), rel=1e-5)  # beyond pi
    assert torch.equal(am[0, 1:], s * cosines[0, 1:]) and torch.equal(aam[1, ::2], s * cosines[1, ::2])


def test_the_loss_leaves_out_speakers_that_training_lacks() -> None:
    task = tasks.build(SMALL)
    logits, known = torch.randn(3, 8 + 2, requires_grad=True), [{"voice": "a"}, {"voice": "b"}]
    both = task.loss(logits[:2], torch.ones(2), known, ("a", "b"))
    assert torch.equal(task.loss(logits, torch.ones(3), [*known, {"voice": "new"}], ("a", "b")), both)
    assert float(task.loss(logits[:1].detach(), torch.ones(1), [{"voice": "new"}], ("a", "b"))) == 0.0


@pytest.mark.parametrize("seed", range(3))
def test_eer_is_the_references_root_on_the_roc(seed: int) -> None:
    draw = np.random.default_rng(seed)
    same = draw.random(200) < 0.3
    scores = draw.normal(same * 1.5, 1.0)
    false, true, _ = roc_curve(same, scores)
    wanted = brentq(lambda x: 1.0 - x - interp1d(false, true)(x), 0.0, 1.0)
    assert _trials.equal_error_rate(same, scores) == pytest.approx(wanted, abs=1e-9)


def test_rates_and_costs_by_hand() -> None:
    same, scores = np.array([1, 1, 1, 0, 0, 0, 0]), np.array([0.9, 0.8, 0.3, 0.5, 0.2, 0.1, 0.0])
    # one of four is wrongly let in at 0.5 and at 0.3, where the share wrongly kept out falls from 1/3 to 0
    assert _trials.equal_error_rate(same, scores) == pytest.approx(0.25)
    assert _trials.least_cost(same, scores, 0.01, 1, 1) == pytest.approx(1 / 3)
    assert _trials.least_cost(same, scores, 0.5, 1, 1) == pytest.approx(0.25)
    assert _trials.least_cost(same, scores, 0.01, 10, 1) == pytest.approx(1 / 3)
    assert _trials.equal_error_rate(same, same) == 0.0 and _trials.equal_error_rate(same, 1 - same) == 1.0
    assert _trials.least_cost(same, np.zeros(7), 0.01, 1, 1) == 1.0


def test_trials_are_followed_and_else_all_pairs_are_compared() -> None:
    rows = rows_of(("a", [1, 0]), ("a", [0.6, 0.8]), ("b", [0.8, 0.6]))
    task = tasks.build("verify")
    everything = task.score(rows)
    first, _, same = _trials.pairs(rows)
    assert (len(first), same.tolist()) == (3, [True, False, False]) and everything["eer"] > 0.9
    listed = paired(rows, [("0", "1", True), ("0", "elsewhere", False), ("2", "0", False)])
    assert [row.get("trials") for row in listed] == [[("1", True)], None, [("0", False)]]
    assert task.score(json.loads(json.dumps(listed)))["eer"] == 1.0
    with pytest.raises(CorpusError, match=r"1 clips of the trials have no prediction: \['9'\]"):
        task.score([{**rows[0], "trials": [["9", True]]}, *rows[1:]])
    for few_rows in (rows[:1], rows[:2], []):
        with pytest.raises(CorpusError, match="pairs of one speaker and of two"):
            task.score(few_rows)


def test_scores_are_normalised_by_the_nearest_of_a_cohort() -> None:
    task = tasks.build('verify(network="pooled", size=2, objective="ce", normalise="as", top=2)')
    others = [[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [-1.0, 0.0]]
    assert task.tune([{"embedding": other} for other in others]) == {"cohort": others}
    assert tasks.build("verify").tune([{"embedding": [1.0]}]) == {}
    seen = tasks.tuned(task, {"cohort": others})
    logits = torch.tensor([[3.0, 0.0, 1, 0], [3.0, 4.0, 0, 1]])
    rows = seen.decode(logits, torch.ones(2), ("a", "b"))
    assert rows[0]["cohort"] == pytest.approx([0.4, 0.4])  # 0.8 and 0.0: itself is not of its cohort
    assert rows[1]["cohort"] == pytest.approx([(0.96 + 0.8) / 2, 0.08])
    found = _trials.normalised(np.array([0.6]), np.array([[0.4, 0.4]]), np.array([[0.88, 0.08]]))
    assert found == pytest.approx([((0.6 - 0.4) / 0.4 + (0.6 - 0.88) / 0.08) / 2])


def test_silence_and_wrong_options() -> None:
    rows = rows_of(("a", [0, 0]), ("a", [0, 0]), ("b", [1, 0]))
    assert math.isfinite(tasks.build("verify").score(rows)["eer"])
    for wrong in ("p_target=1.0", "margin=2.0", "top=1", 'pooling="mean"', "size=-1", "scale=0.0"):
        with pytest.raises(RecipeError, match="verify"):
            tasks.build(f"verify({wrong})")
    with pytest.raises(CorpusError, match="1 value of 'speaker'"):
        tasks.build("verify").vocabulary({"train": [{"speaker": "a"}]})
    with pytest.raises(RecipeError, match="needs a time axis"):
        tasks.build("verify").paced(None)


@needs_espeak
def test_it_learns_to_verify_voices_it_never_heard(tmp_path: Path) -> None:
    corpus = few(Speakers, tmp_path / "clips", {"train": 60, "valid": 16, "test": 24}, protocol="verify")
    task = 'verify(label="voice", network="pooled", objective="am", normalise="as", top=5)'
    result = learnt(task, corpus, tmp_path / "run", epochs=20, head_lr=0.003, validate_epochs=5)
    found = result["scores"]["test"]
    said = [json.loads(line) for line in (tmp_path / "run" / "predictions.jsonl").read_text().splitlines()]
    listed = {row["id"]: row["trials"] for row in said if row["split"] == "test" and "trials" in row}
    assert sum(map(len, listed.values())) == len(Speakers("verify", root=str(tmp_path / "clips")).trials())
    assert found["eer"] < 0.45 and 0 < found["min_dcf"] <= 1
    assert pegbox.load(tmp_path / "run").evaluate("test") == pytest.approx(found, abs=1e-4)
