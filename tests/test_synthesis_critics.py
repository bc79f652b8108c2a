"""Finished runs that hear what a synthesis run says: their scores are those that they give to its samples."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from _speaker import save_speaker, save_units

import pegbox
from pegbox.errors import CorpusError, RecipeError, WeightsError
from pegbox.tasks import build
from pegbox.training.beside import Beside
from pegbox.training.critics import Critics
from pegbox.training.prepare import corpus_rows

pytestmark = pytest.mark.skipif(not find_spec("pyworld"), reason="pyworld is not installed: pegbox[speech]")


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Returns a network, clips, a finished run of `verify` and one of `ctc`, which has heard phonemes."""
    folder = tmp_path_factory.mktemp("critics")
    found = {"network": save_speaker(folder / "network"), "units": save_units(folder / "units")}
    lines = [json.loads(line) for line in found["units"].read_text().splitlines()]
    voices = [
        {"path": line["path"], "speaker": "ab"[n % 2], "split": "valid" if n > 7 else "train"}
        for n, line in enumerate(lines)
    ]
    (folder / "units" / "voices.jsonl").write_text("".join(json.dumps(line) + "\n" for line in voices))
    tasks = {"verify": ('verify(network="pooled")', folder / "units" / "voices.jsonl")}
    tasks |= {"ctc": ('ctc(label="phonemes", unit="phoneme")', found["units"])}
    for name, (task, clips) in tasks.items():
        settings = {"backbone": "tiny", "method": "linear_probe", "task": task, "corpus": f'manifest(path="{clips}")'}
        pegbox.train(settings | {"train": {"steps": 20}, "cache": {"use": False}}, folder / name)
        found[name] = folder / name
    return found


def settings_of(places: dict[str, Path], task: str) -> dict[str, Any]:
    made = {"backbone": str(places["network"]), "method": "lora(rank=2)", "task": task, "train": {"steps": 2}}
    return made | {"corpus": f'manifest(path="{places["units"]}")'}


@pytest.fixture(scope="module")
def judged(places: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    task = f'synthesize(verifier="{places["verify"]}", transcriber="{places["ctc"]}")'
    folder = tmp_path_factory.mktemp("judged") / "run"
    pegbox.train(settings_of(places, task), folder)
    return folder


def test_the_scores_are_what_the_runs_say_of_the_samples(places: dict[str, Path], judged: Path) -> None:
    run, said = pegbox.load(judged), sorted((judged / "samples").glob("*-said.wav"))
    scores = run.result["scores"]["test"]
    assert len(said) == run.result["clips"]["test"] == 2
    cosines = []
    for path in said:
        both = [path, path.with_name(path.name.replace("-said", "-reference"))]
        one, other = (np.array(row["embedding"]) for row in pegbox.load(places["verify"]).predict(both))
        cosines.append(one @ other / np.linalg.norm(one) / np.linalg.norm(other))
    assert scores["speaker_similarity"] == pytest.approx(np.mean(cosines), abs=1e-5) and scores["per"] >= 0
    rows = {row["id"]: row for row in map(json.loads, (judged / "predictions.jsonl").read_text().splitlines())}
    for path, heard in zip(said, pegbox.load(places["ctc"]).predict(said), strict=True):
        row = rows[path.name.removesuffix("-said.wav")]
        assert row["heard"] == heard["said"] and row["per"][1] == len(row["true"].split())


def test_only_the_test_part_is_heard_and_a_reloaded_run_is_judged_the_same(judged: Path) -> None:
    run = pegbox.load(judged)
    assert not {"speaker_similarity", "per"} & set(run.result["scores"]["valid"])
    assert run.evaluate() == run.result["scores"]["test"]


def test_another_run_in_the_same_folder_is_seen(places: dict[str, Path], judged: Path, tmp_path: Path) -> None:
    run = pegbox.load(judged)
    assert set(run.result["beside"]) == {"run of verify", "run of ctc"}
    kept = (places["verify"] / "delta.safetensors").read_bytes()
    (places["verify"] / "delta.safetensors").write_bytes((places["ctc"] / "delta.safetensors").read_bytes())
    try:
        with pytest.raises(WeightsError, match=r"made with a run of verify of digest \w+, and here is \w+:"):
            run.evaluate()
    finally:
        (places["verify"] / "delta.safetensors").write_bytes(kept)


def test_sound_of_next_to_nothing_is_judged_too(places: dict[str, Path], judged: Path) -> None:
    run = pegbox.load(judged)
    critics = Critics(build(run.recipe.task), Beside({}))
    row = next(row for row in corpus_rows(run.recipe, None) if row.split == "test")
    assert -1 <= critics.hear(np.zeros(10, np.float32), 16_000, row)["speaker_similarity"] <= 1


@pytest.mark.parametrize(
    ("option", "given", "message"),
    [
        ("verifier", "nowhere", "finished run of the task verify: .*nowhere: no run in this folder"),
        ("verifier", "ctc", r"wants a run of the task verify; .* is one of ctc\("),
        ("transcriber", "verify", r"wants a run of the task ctc; .* is one of verify\("),
        ("transcriber", "begun", "the run is not finished"),
    ],
)
def test_a_folder_of_another_task_or_of_none_is_refused_before_training(
    option: str, given: str, message: str, places: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "recipe.toml").write_text("")
    folder = places.get(given, tmp_path / given)
    with pytest.raises(RecipeError, match=rf"synthesize\({option}=…\).*{message}"):
        pegbox.train(settings_of(places, f'synthesize({option}="{folder}")'), tmp_path / "run")


def test_test_clips_without_the_text_that_is_to_be_understood_are_refused(
    places: dict[str, Path], tmp_path: Path
) -> None:
    lines = [json.loads(line) for line in places["units"].read_text().splitlines()]
    kept = [line | {"path": str(places["units"].parent / line["path"]), "words": "a"} for line in lines]
    del kept[-1]["words"]
    (tmp_path / "clips.jsonl").write_text("".join(json.dumps(line) + "\n" for line in kept))
    settings = settings_of(places, f'synthesize(transcriber="{places["ctc"]}")')
    (tmp_path / "ctc").mkdir()
    for name in ("recipe.toml", "result.json"):
        text = (places["ctc"] / name).read_text().replace('label=\\"phonemes\\"', 'label=\\"words\\"')
        (tmp_path / "ctc" / name).write_text(text.replace('label="phonemes"', 'label="words"'))
    settings |= {"corpus": f'manifest(path="{tmp_path / "clips.jsonl"}")'}
    with pytest.raises(CorpusError, match="no label 'words'"):
        pegbox.train(settings | {"task": f'synthesize(transcriber="{tmp_path / "ctc"}")'}, tmp_path / "run")
