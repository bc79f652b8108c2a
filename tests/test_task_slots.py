"""Slot filling: the golden values of two references, marks and outputs as SUPERB has them, and requests it learns."""

import math
from pathlib import Path

import pytest
import torch
from _learnt import few, learnt, needs_espeak, size

from pegbox import tasks
from pegbox.corpora.synthetic.slots import Slots
from pegbox.errors import CorpusError, RecipeError

BOTH = ("clean", "reference")
REF = "PLAY B-artist THE BEATLES E-artist NOW"
NAMES = ("slot_type_f1", "slot_value_cer", "slot_value_wer", "slot_edit_f1", "slot_edit_f1_part", "wer", "cer")
ROW = {"transcript": "play the beatles now", "slots": "O artist artist O"}


def scores(*pairs: tuple[str, str], protocol: str = "clean") -> dict[str, float]:
    task = tasks.build(f'slots(protocol="{protocol}")')
    return task.score([{"said": said, "true": true} for said, true in pairs])


@pytest.mark.parametrize("protocol", BOTH)
@pytest.mark.parametrize(
    ("said", "true", "wanted"),
    [
        (REF, REF, (1, 0, 0, 1, 1, 0, 0)),
        ("PLAY THE BEATLES NOW", REF, (0, 1, 1, 0, 0, 0.333333, 0.473684)),
        ("PLAY B-artist THE BEATLES NOW", REF, (0, 1, 1, 0, 0, 0.166667, 0.236842)),
        ("B-a X B-b YY E-a Q E-b", "B-a X E-a B-b YY Q E-b", (0.666667, 1.4, 1, 0, 0, 0.285714, 0.363636)),
        ("PLAY IT", "PLAY IT NOW", (1, math.nan, math.nan, math.nan, math.nan, 1 / 3, 4 / 11)),
    ],
)
def test_golden_scores_of_superb(said: str, true: str, wanted: tuple[float, ...], protocol: str) -> None:
    found = scores((said, true), protocol=protocol)
    assert found == pytest.approx(dict(zip(NAMES, wanted, strict=True)), abs=1e-6, nan_ok=True)


SURE = [
    (
        "B-A WESTBAM E-A ON B-music_item ALBUM E-music_item",
        "PLAY B-A WESTBAM E-A B-album ALLERGIC E-album",
        0.5,
        0.5333,
    ),
    ("PLAY B-A WESTBUM E-A", "PLAY B-A WESTBAM E-A", 1, 0.1429),
    ("HELLO", "HELLO", 1, math.nan),
    ("B-A A E-A", "HELLO", 0, math.nan),
    ("HELLO", "B-A A E-A", 0, 1),
    ("B-A AB E-A B-A ABC E-A", "B-A ABC E-A B-A XYZ E-A", 1, 0.5),
]


@pytest.mark.parametrize("protocol", BOTH)
def test_golden_scores_of_sure(protocol: str) -> None:
    for said, true, f1, rate in SURE:
        found = scores((said, true), protocol=protocol)
        assert found["slot_type_f1"] == pytest.approx(f1)
        assert found["slot_value_cer"] == pytest.approx(rate, abs=5e-5, nan_ok=True)
    found = scores(*((said, true) for said, true, _, _ in SURE), protocol=protocol)
    assert (found["slot_type_f1"], found["slot_value_cer"]) == pytest.approx((0.5833, 0.4483), abs=5e-5)


def test_values_that_break_the_reference_are_scored() -> None:
    pair = ("B-time 8:30; NOW E-time", "B-time 8:30 E-time")
    assert scores(pair)["slot_value_cer"] == pytest.approx(5 / 4)
    longer = "B-a X E-a_b Y E-a"  # the mark of a slot whose name only begins like it does not close a slot
    assert scores((longer, "B-a X Y E-a"))["slot_value_cer"] == 0.0
    assert scores((longer, "B-a X Y E-a"), protocol="reference")["slot_value_cer"] == pytest.approx(2 / 3)


def test_edits_count_what_no_reference_has_only_in_full() -> None:
    found = scores(("B-a X E-a B-c Z E-c B-b Q E-b", "B-a X E-a B-b Y E-b"))
    assert found["slot_edit_f1_part"] == pytest.approx(2 / (2 + 1 + 1))
    assert found["slot_edit_f1"] == pytest.approx(2 / (2 + 1 + 2))


def test_units_marks_and_texts() -> None:
    task = tasks.build("slots")
    units = task._units(ROW)
    assert units == [*"play", " ", "B-artist", *"the", " ", *"beatles", "E-artist", " ", *"now"]
    assert task.truth(ROW) == "play B-artist the beatles E-artist now"
    names = task.vocabulary({"train": [ROW]})
    assert names == ("<blank>", *" abehlnopstwy", "B-artist", "E-artist")
    path = [n for unit in units for n in (names.index(unit), 0)]
    logits = torch.nn.functional.one_hot(torch.tensor([path]), len(names)).float()
    assert task.decode(logits, torch.tensor([len(path)]), names) == [{"said": task.truth(ROW)}]
    assert task.least_frames(ROW) == len(units)


def test_the_reference_has_its_outputs_its_words_and_its_size() -> None:
    task = tasks.build('slots(protocol="reference")')
    row = {"transcript": "rock & roll , now", "slots": "genre genre genre O O"}
    assert task.truth(row) == "B-genre ROCK AND ROLL E-genre NOW"
    types = [{"transcript": "x", "slots": f"slot{n}"} for n in range(39)]
    names = task.vocabulary({"train": types})
    assert len(names) == 109 and names[:4] == ("<pad>", "<eos>", "<unk>", " ")
    with torch.device("meta"):
        sizes = [size(task.head(width, names)) for width in (240, 768, 1024)]
    assert sizes == [42_445_933, 42_986_605, 43_248_749]
    path = [names.index(unit) for unit in ("A", " ", "B-slot3", "B", "E-slot3", " ", "<eos>")]
    logits = torch.nn.functional.one_hot(torch.tensor([path]), len(names)).float()
    assert task.decode(logits, torch.tensor([7]), names) == [{"said": "A B-slot3 B E-slot3"}]


def test_texts_of_any_script_and_words_without_slots() -> None:
    task = tasks.build("slots")
    row = {"transcript": "spiel grüße 日本", "slots": "O Künstler Künstler"}
    names = task.vocabulary({"train": [row]})
    assert task.truth(row) == "spiel B-Künstler grüße 日本 E-Künstler"
    assert task.loss(torch.zeros(1, 40, len(names)), torch.tensor([40]), [row], names).isfinite()
    with pytest.raises(CorpusError, match="2 words and 1 slots: 'a b', 'O'"):
        task.vocabulary({"train": [{"transcript": "a b", "slots": "O"}]})
    with pytest.raises(CorpusError, match="no label 'slots'"):
        task.vocabulary({"train": [{"transcript": "a b"}]})
    with pytest.raises(RecipeError, match="hidden=4"):
        tasks.build('slots(network="linear", hidden=4)')


@needs_espeak
def test_it_learns_requests(tmp_path: Path) -> None:
    corpus = few(Slots, tmp_path / "clips", {"train": 50, "valid": 5, "test": 10})
    task = 'slots(network="projected")'
    result = learnt(task, corpus, tmp_path / "run", epochs=30, head_lr=0.005, batch_clips=8, validate_epochs=10)
    found = result["scores"]["test"]
    assert found["slot_type_f1"] > 0.1 and found["cer"] < 0.75  # nothing said: 0 and 1
