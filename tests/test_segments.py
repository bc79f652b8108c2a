"""Long clips in parts: where the parts lie, whose outputs are averaged, and one row a clip in what a run leaves."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from _learnt import learnt

import pegbox
from pegbox import tasks
from pegbox.errors import RecipeError
from pegbox.rows import Row
from pegbox.training.segments import cropped, cut, joined, some

WHOLE = Row("a", "a.wav", {"x": "1"}, "train", start=2.0, end=12.0)


@pytest.mark.parametrize(
    ("segment", "starts"),
    [(4.0, [2.0, 5.0, 8.0]), (5.0, [2.0, 7.0]), (9.99, [2.0, 2.01]), (10.0, [2.0]), (60.0, [2.0]), (0.0, [2.0])],
)
def test_parts_cover_a_clip_evenly(segment: float, starts: list[float]) -> None:
    parts = cut([WHOLE], tasks.build(f'classify(label="x", segment={segment})'))
    assert [part.start for part in parts] == pytest.approx(starts)
    assert parts[-1].end == pytest.approx(12.0) and {part.labels["x"] for part in parts} == {"1"}
    if len(starts) == 1:
        assert parts == [WHOLE]
    else:
        assert {round(part.end - part.start, 6) for part in parts} == {segment}
        assert [part.id for part in parts] == [f"a#{number}" for number in range(len(starts))]


def test_some_clips_are_drawn_with_all_their_parts() -> None:
    lengths = [tasks.build(f'classify(label="x", segment={4 + n})') for n in range(9)]
    rows = [part for n, task in enumerate(lengths) for part in cut([replace(WHOLE, id=str(n))], task)]
    found = some(rows, 4, seed=1)
    names = {row.id.partition("#")[0] for row in found}
    assert len(names) == 4 and found == [row for row in rows if row.id.partition("#")[0] in names]
    assert some(rows, 4, 1) == found != some(rows, 4, 2)
    assert some(rows, 0, 1) == some(rows, 9, 1) == some(rows, 99, 1) == rows


def test_crops_lie_anywhere_in_a_clip_and_are_drawn_by_seed_and_epoch() -> None:
    rows = [replace(WHOLE, id=str(number)) for number in range(200)]
    found = cropped(rows, 4.0, seed=3, epoch=1)
    starts = [row.start for row in found]
    assert all(2.0 <= start <= 8.0 for start in starts) and min(starts) < 2.5 and max(starts) > 7.5
    assert [row.end for row in found] == pytest.approx([start + 4.0 for start in starts])
    assert [row.id for row in found] == [row.id for row in rows]
    assert cropped(rows, 4.0, 3, 1) == found != cropped(rows, 4.0, 3, 2) != cropped(rows, 4.0, 4, 2)
    assert cropped(rows, 10.0, 3, 1) == rows == cropped(rows, 0.0, 3, 1)


def test_a_clip_to_verify_is_the_mean_of_its_parts() -> None:
    task = tasks.build('verify(label="x", segment=1.0, network="pooled")')
    parts = [Row(f"a#{n}", "a.wav", {"part of": "a"}) for n in range(3)]
    said = [
        {"said": who, "embedding": vector, "cohort": [0.5 * n, 1.0]}
        for n, (who, vector) in enumerate((("p", [1.0, 0.0]), ("q", [0.0, 1.0]), ("q", [0.6, 0.8])))
    ]
    found = {row.id: {"id": row.id, "true": "q", **each} for row, each in zip(parts, said, strict=True)}
    wanted = {"id": "a", "true": "q", "said": "q", "embedding": [0.533333, 0.6], "cohort": [0.5, 1.0]}
    assert joined(parts, found, task) == [wanted]
    with pytest.raises(RecipeError, match=r"verify\(segment=-1\.0\)"):
        tasks.build("verify(segment=-1.0)")


def test_a_task_without_parts_hears_clips_whole() -> None:
    assert cut([WHOLE], tasks.build("ctc")) == [WHOLE]


@pytest.mark.parametrize(
    ("spec", "names"),
    [
        ('classify(label="x", segment=1.0)', ("1", "2", "3")),
        ('classify(label=["x", "y"], segment=1.0)', ("x=1", "x=2", "y=3")),
        ('tag(label="x", segment=1.0)', ("1", "2", "3")),
        ('regress(label="x", segment=1.0)', ('["x", 1.5, 2.0]',)),
    ],
)
def test_what_is_said_of_a_clip_is_the_mean_output_of_its_parts(spec: str, names: tuple[str, ...]) -> None:
    torch.manual_seed(0)
    task, outputs = tasks.build(spec), torch.randn(4, len(names), dtype=torch.double)
    rows = [Row("other", "o.wav"), *(Row(f"a#{n}", "a.wav", {"part of": "a"}) for n in range(3))]
    said = task.decode(outputs, torch.ones(4), names)
    found = {row.id: {"id": row.id, "true": "1", **each} for row, each in zip(rows, said, strict=True)}
    other, whole = joined(rows, found, task)
    (wanted,) = task.decode(outputs[1:].mean(0)[None], torch.ones(1), names)
    assert other == found["other"] and (whole["id"], whole["true"]) == ("a", "1")
    assert whole["said"] == wanted["said"]
    key = "values" if "values" in wanted else "probabilities"
    assert whole[key] == pytest.approx(wanted[key])


def test_certain_parts_are_joined_without_a_hole() -> None:
    for spec in ('classify(label="x")', 'tag(label="x")'):
        parts = [
            {"said": "a", "probabilities": {"a": 1.0, "b": 0.0}},
            {"said": "b", "probabilities": {"a": 0.0, "b": 1.0}},
        ]
        assert tasks.build(spec).join(parts)["probabilities"] == pytest.approx({"a": 0.5, "b": 0.5}, abs=1e-5)
    with pytest.raises(RecipeError, match=r"classify\(segment=-1"):
        tasks.build('classify(label="x", segment=-1.0)')


def test_a_run_scores_clips_and_learns_from_parts(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    for name, pitch in (("low", 200), ("high", 2500)):
        (tmp_path / "clips" / name).mkdir(parents=True)
        for number in range(10):
            tone = np.sin(2 * np.pi * pitch * np.arange(4_000 * (1 + number % 4)) / 16_000)
            tone += 0.1 * draw.standard_normal(len(tone))
            soundfile.write(tmp_path / "clips" / name / f"{number}.wav", 0.3 * tone, 16_000)
    task = 'classify(label="class", segment=0.25, pooling="deviation")'
    corpus = f'folder(root="{tmp_path}/clips", valid=0.2, test=0.4)'
    result = learnt(task, corpus, tmp_path / "run", epochs=8, head_lr=0.005)
    assert sum(result["clips"].values()) == 2 * (3 * 1 + 3 * 2 + 2 * 3 + 2 * 4)
    lines = [json.loads(line) for line in (tmp_path / "run" / "predictions.jsonl").read_text().splitlines()]
    test = [line for line in lines if line["split"] == "test"]
    assert len(test) == 8 and not any("#" in line["id"] for line in test)
    assert result["scores"]["test"]["accuracy"] == 1.0
    run = pegbox.load(tmp_path / "run")
    assert run.evaluate("test") == pytest.approx(result["scores"]["test"])
    found = run.predict([tmp_path / "clips" / line["id"] for line in (*test, *test)])  # the same files twice
    assert [row["said"] for row in found] == [line["said"] for line in test] * 2
