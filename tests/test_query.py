"""Query by example: the warping written out, the score by hand, and the tiny encoder on words that it never heard."""

import csv
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from _made import RATE, save_ast
from test_corpora_turns import quesst
from torch.nn import functional as F
from typer.testing import CliRunner

from pegbox import corpora
from pegbox.cli import app
from pegbox.errors import CorpusError, RecipeError
from pegbox.query import _match, score, search

WORDS = 12  # of three syllables each
ORDERS = {"valid": 12, "test": 16}  # queries of each split


def unit(*shape: int) -> torch.Tensor:
    return F.normalize(torch.randn(*shape), dim=-1)


def cheapest(query: torch.Tensor, document: torch.Tensor) -> float:
    """Returns the least cost a frame over every way, each tried."""
    distance = np.exp(1 - (query @ document.T).double().numpy()) - 1
    low, high = distance.min(1, keepdims=True), distance.max(1, keepdims=True)
    distance = (distance - low) / (high - low)
    found = []
    for start in range(len(document)):
        for steps in itertools.product((0, 1, 2), repeat=len(query) - 1):
            places = np.cumsum([start, *steps])
            if places[-1] < len(document):
                found.append(distance[np.arange(len(query)), places].mean())
    return float(min(found))


def test_the_cost_is_that_of_the_cheapest_of_all_ways() -> None:
    torch.manual_seed(0)
    query, documents = unit(6, 4), [unit(length, 4) for length in (9, 3, 12)]
    padded = torch.nn.utils.rnn.pad_sequence(documents, batch_first=True)
    found = _match.costs(query, padded, torch.tensor([9, 3, 12])).tolist()
    assert found == pytest.approx([cheapest(query, document) for document in documents], rel=1e-4)
    inside = torch.cat([unit(5, 4), query, unit(5, 4)])
    slower = torch.cat([unit(3, 4), query.repeat_interleave(2, 0)])
    for document in (inside, slower):
        assert _match.costs(query, document[None], torch.tensor([len(document)])).item() < 0.01 < min(found)


def test_fits_are_deviations_from_a_querys_mean_and_know_no_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    queries, documents = ([5 + 3 * torch.randn(n, 8) for n in lengths] for lengths in ((7, 4, 9), (30, 12, 25, 40)))
    found = _match.fits(queries, documents)
    assert found.shape == (3, 4) and found[1].tolist() == [0.0] * 4  # shorter than five frames
    for row in (found[0], found[2]):
        assert row.mean().item() == pytest.approx(0, abs=1e-6)
        assert row.std(correction=0).item() == pytest.approx(1, rel=1e-5)
    monkeypatch.setattr(_match, "_BLOCK", 1)  # each document by itself
    torch.testing.assert_close(_match.fits(queries, documents), found, rtol=1e-4, atol=1e-4)
    scaled = [[2 * x - 7 for x in part] for part in (queries, documents)]
    torch.testing.assert_close(_match.fits(*scaled), found, rtol=1e-3, atol=1e-3)


def test_the_value_of_terms_by_hand() -> None:
    rows = [
        {"id": "q", "true": ["a", "b"], "fits": {"a": 3.0, "b": 1.0, **{str(n): 0.0 for n in range(20)}}},
        {"id": "r", "true": ["c"], "fits": {"c": 2.0, "a": 2.5, **{str(n): 0.0 for n in range(99)}}},
        {"id": "nowhere", "true": [], "fits": {"a": 9.0}},
    ]
    cost = (1 / 0.0008 - 1) / 100
    found = score(rows)
    assert found == {"mtwv": pytest.approx((1 + 1) / 2 - cost / 100 / 2), "threshold": 1.0}
    assert score([rows[0]]) == {"mtwv": 1.0, "threshold": 1.0}
    blind = [{"id": "q", "true": ["a"], "fits": {"a": 0.0, **{str(n): 0.0 for n in range(9)}}}]
    assert score(blind) == {"mtwv": 0.0}  # all or nothing: a threshold takes what is level together
    with pytest.raises(CorpusError, match="none of which is in any document"):
        score([rows[2]])
    with pytest.raises(CorpusError, match="q: 1 of its documents have no score"):
        score([{"id": "q", "true": ["x"], "fits": {"a": 1.0}}])


def syllable(pitch: float, formant: float, draw: np.random.Generator) -> np.ndarray:
    """Returns a quarter of a second of a voice-like sound."""
    time = np.arange(int(RATE * draw.uniform(0.2, 0.28))) / RATE
    tones = [np.sin(2 * np.pi * n * pitch * time) * np.exp(-((n * pitch - formant) ** 2) / 4e4) for n in range(1, 24)]
    return np.hanning(len(time)) * np.sum(tones, 0) + 0.01 * draw.standard_normal(len(time))


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Words of three syllables, alone and within recordings of three words, each time at another pitch and speed."""
    folder, draw = tmp_path_factory.mktemp("words"), np.random.default_rng(0)
    formants = [draw.choice([400, 900, 1500, 2200, 3000], 3, replace=False) for _ in range(WORDS)]

    def said(number: int) -> np.ndarray:
        pitch = draw.uniform(110, 160)
        return np.concatenate([syllable(pitch, formant, draw) for formant in formants[number]])

    documents = {f"d{n}.wav": draw.choice(WORDS, 3, replace=False).tolist() for n in range(30)}
    lines = []
    for name, inside in documents.items():
        soundfile.write(folder / name, 0.2 * np.concatenate([said(n) for n in inside]), RATE)
        lines.append({"path": name, "split": "train", "role": "document"})
    for split, count in ORDERS.items():
        for number in range(count):
            name, word = f"{split}{number}.wav", number % WORDS
            soundfile.write(folder / name, 0.2 * said(word), RATE)
            there = ",".join(each for each, inside in documents.items() if word in inside)
            lines.append({"path": name, "split": split, "role": "query", "documents": there})
    with (folder / "clips.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["path", "split", "role", "documents"])
        writer.writeheader()
        writer.writerows(lines)
    return folder / "clips.csv"


def test_the_tiny_encoder_finds_words_in_recordings(words: Path, tmp_path: Path) -> None:
    told: list[tuple[int, float]] = []
    spec = f'manifest(path="{words}")'
    result = search("tiny", spec, tmp_path / "found", lambda *each: told.append(each))
    assert [layer for layer, _ in told] == [*range(len(result["layers"]))]
    assert result["layers"] == [value for _, value in told] and max(result["layers"]) == told[result["layer"]][1]
    assert result["scores"]["valid"]["mtwv"] == max(result["layers"]) and result["queries"] == ORDERS
    rows = [json.loads(line) for line in (tmp_path / "found" / "predictions.jsonl").read_text().splitlines()]
    tested = [row for row in rows if row["split"] == "test"]
    assert score(tested) == result["scores"]["test"] and len(rows) == sum(ORDERS.values())
    assert json.loads((tmp_path / "found" / "result.json").read_text()) == result
    first = np.mean([max(row["fits"], key=row["fits"].get) in row["true"] for row in tested])
    chance = np.mean([len(row["true"]) / len(row["fits"]) for row in tested])
    assert chance < 0.3 and first > 0.9 and result["scores"]["test"]["mtwv"] > 0.2
    done = CliRunner().invoke(
        app, ["query", "--backbone", "tiny", "--corpus", spec, "--out", str(tmp_path / "x"), "--json"]
    )
    assert done.exit_code == 0 and json.loads(done.stdout) == result


def test_the_layout_of_quesst_is_understood(hubert: Path, tmp_path: Path) -> None:
    spec = f'quesst14(root="{quesst(tmp_path / "data")}")'
    result = search(str(hubert), spec, tmp_path / "found")
    assert result["queries"] == {"valid": 2, "test": 1} and result["documents"] == 1
    rows = [json.loads(line) for line in (tmp_path / "found" / "predictions.jsonl").read_text().splitlines()]
    assert [row["true"] for row in rows] == [["quesst14_00001"], [], ["quesst14_00001"]]


@pytest.mark.filterwarnings("ignore:At least one mel filter")
def test_what_cannot_be_sought_is_refused(words: Path, hubert: Path, tones: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="ast's states are no time axis"):
        search(str(save_ast(tmp_path / "ast", 128)), f'manifest(path="{words}")', tmp_path / "x")
    with pytest.raises(CorpusError, match="no documents and no queries of 'valid' and no queries of 'test'"):
        search(str(hubert), f'folder(root="{tones}", valid=0.2, test=0.2)', tmp_path / "x")
    text = words.read_text()
    (strange := words.parent / "strange.csv").write_text(text.replace('"d0.wav', '"e0.wav'))
    assert strange.read_text() != text and corpora.build(f'manifest(path="{strange}")').rows()
    with pytest.raises(CorpusError, match=r"queries' documents are none: .*e0\.wav"):
        search(str(hubert), f'manifest(path="{strange}")', tmp_path / "x")
