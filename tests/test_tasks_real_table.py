"""The benchmark of tasks on real speech: its splits, and the statistics that hear no network."""

import runpy
from pathlib import Path

import numpy as np
import pytest
from _made import SHARED

from pegbox import tasks
from pegbox.rows import Row

TABLE = runpy.run_path(str(Path(__file__).parents[1] / "benchmarks" / "tasks_real.py"))
CLIPS = [
    {"path": f"{speaker}-{take}.flac", "speaker": speaker, "split": "test" if take > 2 else "train", "word": ""}
    for speaker in "abcd"
    for take in range(5)
]


def split(clips: list[dict[str, str]], name: str) -> set[str]:
    return {clip["path"].removesuffix(".flac") for clip in clips if clip["split"] == name}


def test_unheard_speakers_are_only_tested() -> None:
    found = TABLE["_unheard"](CLIPS, {"c", "d"})
    assert split(found, "test") == {f"{speaker}-{take}" for speaker in "cd" for take in range(5)}
    assert split(found, "valid") == {"a-3", "a-4", "b-3", "b-4"} and len(split(found, "train")) == 6


def test_heard_speakers_are_in_every_split_with_other_clips() -> None:
    found = TABLE["_heard"](CLIPS)
    assert split(found, "test") == {f"{speaker}-{take}" for speaker in "abcd" for take in (3, 4)}
    assert split(found, "valid") == {f"{speaker}-{take}" for speaker in "abcd" for take in (1, 2)}
    assert split(found, "train") == {f"{speaker}-0" for speaker in "abcd"}


def test_statistics_tell_tones_apart(tones: Path) -> None:
    rows = [Row(str(path), str(path), {"x": path.parent.name}) for path in sorted(tones.glob("*/*.flac"))]
    found = TABLE["_mel"](rows[:3])
    assert found.shape == (3, 160) and np.isfinite(found).all()
    for spec, metric, low, high in (
        ('classify(label="x")', "accuracy", 0.95, 1.0),
        ('verify(label="x")', "eer", 0.0, 0.3),
    ):
        task = tasks.build(spec)
        known, given = TABLE["_mel"](rows[::2]), TABLE["_mel"](rows[1::2])
        plain = TABLE["_told"](rows[::2], known, rows[1::2], given, task)
        assert low <= task.score(plain)[metric] <= high


@pytest.mark.skipif(not (SHARED / "data").exists(), reason="no shared/ with real audio beside the project")
def test_no_speaker_is_heard_and_unheard(tmp_path: Path) -> None:
    from pegbox import corpora

    found = dict(TABLE["settings"](SHARED, tmp_path))
    counts = {}
    for name, nouns in found.items():
        rows = corpora.build(nouns["corpus"]).rows()
        people = [{row.labels["speaker"] for row in rows if row.split == each} for each in ("train", "test")]
        counts[name] = len(rows), len(people[0] & people[1])
    assert counts == {"unheard speakers": (100, 0), "heard speakers": (100, 10), "words": (750, 0)}
