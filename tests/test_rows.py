"""Rows: splits are drawn without loss or leak, faults are listed and counted, manifests come back as written."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import assume, given
from hypothesis import strategies as st

from pegbox import rows as rows_
from pegbox.errors import CorpusError
from pegbox.rows import Row, by_fold, check, hold_out, load, write

SHARES = st.floats(0, 0.99)
SEEDS = st.integers(0, 2**31)


@st.composite
def grouped(draw: st.DrawFn, splits: tuple[str, ...] = ("train",)) -> list[Row]:
    """Rows of a few speakers and classes; a speaker may say several classes."""
    labels = st.tuples(st.sampled_from("abcdef"), st.sampled_from("xyz"), st.sampled_from(splits), st.integers(1, 3))
    return [
        Row(f"{n}", f"{n}.wav", {"speaker": speaker, "word": word}, split, fold)
        for n, (speaker, word, split, fold) in enumerate(draw(st.lists(labels, min_size=1, max_size=30)))
    ]


def without_split(rows: list[Row]) -> list[Row]:
    return [replace(row, split="") for row in rows]


def values(rows: list[Row], split: str, label: str = "speaker") -> set[str]:
    return {row.labels[label] for row in rows if row.split == split}


@given(grouped(("train", "valid", "test")), SHARES, SEEDS, st.sampled_from([None, "speaker"]))
def test_nothing_is_lost_and_only_training_rows_move(rows, share, seed, group):
    found = hold_out(rows, share, seed, group, "valid", "word")
    assert without_split(found) == without_split(rows)
    assert all((old.split, new.split) == ("train", "valid") or old == new for old, new in zip(rows, found, strict=True))


@given(grouped(), SHARES, SEEDS, st.sampled_from([None, "word"]))
def test_groups_are_never_torn(rows, share, seed, stratify):
    found = hold_out(rows, share, seed, "speaker", "valid", stratify)
    assert not values(found, "train") & values(found, "valid")


@given(grouped(), SHARES, SEEDS, st.sampled_from([None, "speaker"]), st.sampled_from([None, "word"]), st.randoms())
def test_the_draw_does_not_depend_on_the_order_of_rows(rows, share, seed, group, stratify, random):
    mixed = list(rows)
    random.shuffle(mixed)
    found = hold_out(rows, share, seed, group, "valid", stratify)
    again = hold_out(mixed, share, seed, group, "valid", stratify)
    assert {row.id: row.split for row in found} == {row.id: row.split for row in again}


@given(grouped(), st.floats(1e-6, 0.99), SEEDS, st.sampled_from([None, "speaker"]), st.sampled_from([None, "word"]))
def test_neither_side_is_empty_with_two_groups(rows, share, seed, group, stratify):
    assume(len(rows if group is None else values(rows, "train")) >= 2)
    found = Counter(row.split for row in hold_out(rows, share, seed, group, "valid", stratify))
    assert found["train"] >= 1
    assert found["valid"] >= 1


@given(grouped(), st.floats(0, 0.99), SEEDS)
def test_one_group_stays_in_training(rows, share, seed):
    one = [replace(row, labels={**row.labels, "speaker": "a"}) for row in rows]
    assert hold_out(one, share, seed, "speaker") == one


@given(grouped(), SEEDS)
def test_no_share_moves_nothing(rows, seed):
    assert hold_out(rows, 0.0, seed) == rows


@given(grouped(), SHARES, SEEDS)
def test_shares_of_classes_are_kept_within_one_clip(rows, share, seed):
    assume(len(rows) >= 2)
    found = hold_out(rows, share, seed, None, "valid", "word")
    total, held = Counter(row.labels["word"] for row in rows), Counter()
    held.update(row.labels["word"] for row in found if row.split == "valid")
    for word, count in total.items():
        assert abs(held[word] - share * count) <= 1 + 1e-9


@given(
    st.lists(st.integers(1, 6), min_size=2, max_size=20), st.lists(st.sampled_from("xy"), min_size=20), SHARES, SEEDS
)
def test_shares_of_classes_are_kept_within_one_group(sizes, words, share, seed):
    rows = [
        Row(f"{group}-{n}", "", {"speaker": str(group), "word": words[group]}, "train")
        for group, size in enumerate(sizes)
        for n in range(size)
    ]
    assume(share > 0)
    found = hold_out(rows, share, seed, "speaker", "valid", "word")
    for word in {*words[: len(sizes)]}:
        mine = [size for size, name in zip(sizes, words, strict=False) if name == word]
        held = sum(row.split == "valid" for row in found if row.labels["word"] == word)
        assert abs(held - share * sum(mine)) <= max(mine) + 1e-9


@given(st.lists(st.integers(1, 40), min_size=2, max_size=12), st.floats(1e-6, 0.5), SEEDS)
def test_the_share_is_as_near_as_groups_allow(sizes, share, seed):
    rows = [Row(f"{g}-{n}", "", {"speaker": f"{g}"}, "train") for g, size in enumerate(sizes) for n in range(size)]
    held = sum(row.split == "valid" for row in hold_out(rows, share, seed, "speaker"))
    wanted = share * len(rows)
    assert abs(held - wanted) <= max(max(sizes) / 2, min(abs(size - wanted) for size in sizes)) + 1e-9


@given(st.integers(2, 60), st.integers(2, 4), st.floats(0.05, 0.5), SEEDS)
def test_classes_of_few_clips_still_yield_the_share_together(classes, clips, share, seed):
    rows = [Row(f"{c}-{n}", "", {"word": f"{c}"}, "train") for c in range(classes) for n in range(clips)]
    found = hold_out(rows, share, seed, None, "valid", "word")
    held = Counter(row.labels["word"] for row in found if row.split == "valid")
    assert held.total() >= min(share * len(rows) - 1, classes - 1)
    assert all(abs(held[f"{c}"] - share * clips) <= 1 + 1e-9 for c in range(classes))


def test_classes_that_have_their_share_stay_even():
    rows = [Row(f"{word}{n}", "", {"word": word}, "train") for word in "xyz" for n in range(12)]
    for seed in range(5):  # 2.4 clips of each are wanted
        found = hold_out(rows, 0.2, seed, None, "valid", "word")
        assert Counter(row.labels["word"] for row in found if row.split == "valid") == {"x": 2, "y": 2, "z": 2}


def test_ids_that_stand_twice_tear_no_group_and_leave_training():
    rows = [Row("same", "", {"speaker": f"{n}"}, "train") for n in range(4)]
    found = hold_out(rows, 0.5, 0, "speaker")
    assert Counter(row.split for row in found) == {"train": 2, "valid": 2}
    assert not values(found, "train") & values(found, "valid")


def test_a_mixed_group_counts_for_its_commonest_class():
    rows = [Row(f"{n}", "", {"s": "one", "w": word}, "train") for n, word in enumerate("yxx")]
    rows += [Row(f"o{n}", "", {"s": f"o{n}", "w": "y"}, "train") for n in range(3)]
    for order in (rows, rows[::-1]):
        found = hold_out(order, 0.5, 5, "s", "valid", "w")
        assert {row.split for row in found if row.labels["s"] == "one"} == {"valid"}  # all of x that there is


def test_another_seed_draws_otherwise():
    rows = [Row(f"{n}", "", {}, "train") for n in range(100)]
    draws = {tuple(row.split for row in hold_out(rows, 0.2, seed)) for seed in range(5)}
    assert len(draws) == 5
    assert all(draw.count("valid") == 20 for draw in draws)


@pytest.mark.parametrize("share", [-0.1, 1.0, 1.5, float("nan")])
def test_a_share_outside_is_refused(share):
    with pytest.raises(CorpusError, match=r"valid=.*a share from 0"):
        hold_out([Row("a", "")], share)


def test_a_group_that_a_row_lacks_is_named():
    with pytest.raises(CorpusError, match=r"a: no label 'speaker' .* it has \['word'\]"):
        hold_out([Row("a", "", {"word": "x"}, "train")], 0.5, group="speaker")


@given(grouped(), st.floats(0.1, 0.5), SEEDS)
def test_folds(rows, valid, seed):
    folds = sorted({row.fold for row in rows})
    found = [by_fold(rows, fold, valid, seed) for fold in folds]
    for fold, each in zip(folds, found, strict=True):
        assert {row.id for row in each if row.split == "test"} == {row.id for row in rows if row.fold == fold}
        assert without_split(each) == without_split(rows)
    tested = Counter(row.id for each in found for row in each if row.split == "test")
    assert tested == Counter(row.id for row in rows)  # every row is tested once


def test_rows_without_a_fold_are_left_out_and_an_unknown_fold_is_refused():
    rows = [Row("a", "", fold=1), Row("b", "", fold=2), Row("c", "")]
    assert {row.id: row.split for row in by_fold(rows, 2, 0.0)} == {"a": "train", "b": "test"}
    with pytest.raises(CorpusError, match=r"fold 7: the corpus has folds \[1, 2\]"):
        by_fold(rows, 7, 0.1)
    with pytest.raises(CorpusError, match="fold 1: the corpus has no folds"):
        by_fold([Row("c", "")], 1, 0.1)


@pytest.fixture
def clip(tmp_path: Path) -> str:
    soundfile.write(tmp_path / "clip.wav", np.zeros(1600), 16_000)
    return str(tmp_path / "clip.wav")


def test_good_rows_pass_and_have_lengths(clip: str) -> None:
    rows = [Row("a", clip, split="train"), Row("b", clip, start=0.02, end=0.1, split="test"), Row("c", clip)]
    assert check(rows) is None
    assert [rows_.seconds(row) for row in rows] == pytest.approx([0.1, 0.08, 0.1])


FAULTS = {
    "id 'a' stands 2 times": lambda row: [row, row],
    "unknown split 'tset'": lambda row: [replace(row, split="tset")],
    "no such audio file": lambda row: [replace(row, audio="missing.wav")],
    "times 0.05 to 0.2 s in a file of 0.100 s": lambda row: [replace(row, start=0.05, end=0.2)],
    "times 0.1 to 0.1 s": lambda row: [replace(row, start=0.1)],
    "times -1.0 to 0.1 s": lambda row: [replace(row, start=-1.0)],
    "times nan to 0.1 s": lambda row: [replace(row, start=float("nan"))],
    "speaker 'x' stands in ['test', 'train']": lambda row: [row, replace(row, id="b", split="test")],
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_named_and_counted(fault: str, clip: str) -> None:
    rows = FAULTS[fault](Row("a", clip, {"speaker": "x"}, "train"))
    with pytest.raises(CorpusError) as caught:
        check(rows, "speaker")
    assert fault in str(caught.value)
    assert str(caught.value).startswith(f"1 faults in {len(rows)} rows:")


def test_a_lacking_label_is_one_fault_among_others(clip: str) -> None:
    rows = [Row("a", clip, {"word": "x"}, "train"), Row("b", "missing.wav", {"speaker": "x"}, "test"), Row("c", clip)]
    with pytest.raises(CorpusError) as caught:
        check(rows, "speaker")
    lines = str(caught.value).splitlines()
    assert lines[0] == "2 faults in 3 rows:"
    assert "missing.wav" in lines[1]
    assert "a: no label 'speaker'" in lines[2]


def test_all_faults_are_counted_and_the_first_eight_listed(clip: str) -> None:
    rows = [Row(f"{n}", f"missing-{n}.wav", split="train") for n in range(11)] + [Row("good", clip)]
    with pytest.raises(CorpusError) as caught:
        check(rows)
    lines = str(caught.value).splitlines()
    assert lines[0] == "11 faults in 12 rows:"
    assert [f"missing-{n}.wav" in line for n, line in enumerate(lines[1:9])] == [True] * 8
    assert lines[9].strip() == "… and 3 more"
    with pytest.raises(CorpusError) as caught:
        check(rows[:8])
    assert "more" not in str(caught.value)


def test_no_rows_are_refused() -> None:
    with pytest.raises(CorpusError, match="no rows"):
        check([])


TEXT = st.text(st.characters(blacklist_categories=("Cs",)), max_size=8)
ROWS = st.builds(
    Row,
    TEXT,
    TEXT,
    st.dictionaries(TEXT, TEXT, max_size=3),
    st.sampled_from(["", *rows_.SPLITS]),
    st.none() | st.integers(0, 9),
    st.floats(0, 1e6),
    st.none() | st.floats(0, 1e6),
)


@given(st.lists(ROWS, max_size=5))
def test_what_is_written_reads_back(tmp_path_factory: pytest.TempPathFactory, rows: list[Row]) -> None:
    path = tmp_path_factory.getbasetemp() / "rows.jsonl"
    write(path, rows)
    assert load(path) == rows


def test_writing_replaces_whole(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    write(path, [Row("old", "old.wav")])
    with pytest.raises(TypeError):
        write(path, [Row("new", "new.wav"), Row("bad", "bad.wav", {"label": object()})])
    assert [row.id for row in load(path)] == ["old"]


WRONG_FIELDS = [
    {"id": 1},
    {"audio": None},
    {"labels": 3},
    {"labels": {"word": 3}},
    {"split": None},
    {"fold": "1"},
    {"fold": 1.5},
    {"start": "0"},
    {"end": True},
]


@pytest.mark.parametrize(
    "damage",
    [
        *['{"id": "b", "audio"', '{"id": "b"}', '{"id": "b", "audio": "b", "x": 1}', "[1]", "[" * 100_000],
        *[json.dumps({"id": "b", "audio": "b.wav", **wrong}) for wrong in WRONG_FIELDS],
    ],
    ids=lambda damage: damage[:60],
)
def test_a_damaged_line_is_named(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"id": "a", "audio": "a.wav"}) + "\n" + damage + "\n")
    with pytest.raises(CorpusError, match=r"rows\.jsonl: line 2 is no row"):
        load(path)


def test_a_missing_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"missing\.jsonl"):
        load(tmp_path / "missing.jsonl")
