"""Synthesis as a task: teaching, resuming, an artefact that says the same again, and what is refused."""

import json
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from _cut import ends_with_the_same_numbers
from _refused import refused_by
from _speaker import SETTINGS, save_speaker, save_units

import pegbox
from pegbox import backbones
from pegbox.errors import CorpusError, RecipeError, WeightsError
from pegbox.recipe import make
from pegbox.run import open_model, speaking
from pegbox.surgery import read_tensors
from pegbox.tasks import build
from pegbox.training import script
from pegbox.training.feed import Feed
from pegbox.training.plans import plan
from pegbox.training.prepare import corpus_rows, data_of
from pegbox.training.reading import LONGEST, parts
from pegbox.training.session import Session
from pegbox.training.speaking import Speaking

pytestmark = pytest.mark.skipif(not find_spec("pyworld"), reason="pyworld is not installed: pegbox[speech]")
METHODS = (
    *("lora(rank=2)", "bottleneck(size=4)", "conv_adapter", "prefix(length=3)", "bitfit", "full", "peft"),
    *("deep_prompt(length=3)", "shallow_prompt(length=3)", "unipelt(rank=2, length=3, size=4)", "downsample + bitfit"),
)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_speaker(tmp_path_factory.mktemp("network"))


@pytest.fixture(scope="module")
def units(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_units(tmp_path_factory.mktemp("units"))


def settings_of(network: Path, units: Path, method: str = "lora(rank=2)", **changes: Any) -> dict[str, Any]:
    train = {"epochs": 3, "batch_clips": 4} | changes.pop("train", {})
    made = {"backbone": str(network), "method": method, "task": "synthesize", "corpus": f'manifest(path="{units}")'}
    return made | {"train": train} | changes


@pytest.fixture(scope="module")
def finished(network: Path, units: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "run"
    pegbox.train(settings_of(network, units, "lora(rank=2) + bitfit", train={"epochs": 12, "delta_lr": 0.03}), folder)
    return folder


@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_each_of_its_tensors_and_nothing_else(
    method: str, network: Path, units: Path, tmp_path: Path
) -> None:
    before = backbones.load_speaker(str(network)).fingerprint()
    session = Session(make(settings_of(network, units, method)))
    result = pegbox.train(settings_of(network, units, method), tmp_path / "run")
    tensors, _ = read_tensors(tmp_path / "run" / "delta.safetensors")
    assert sum(tensor.numel() for tensor in tensors.values()) >= result["parameters"]["delta"] > 0
    assert result["parameters"]["head"] == result["parameters"]["layers"] == 0
    assert session.backbone.fingerprint() == before
    assert set(result["scores"]["test"]) == {
        *("mel_mcd", "mcd", "mcd_unwarped", "duration_error", "log_f0_rmse", "voicing_error")
    }


def test_the_loss_falls_and_the_distance_too(finished: Path) -> None:
    log = [json.loads(line) for line in (finished / "log.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in log if row["event"] == "step"]
    assert np.mean(losses[-4:]) < 0.9 * np.mean(losses[:4])
    looks = [row["mel_mcd"] for row in log if row["event"] == "validated"]
    assert min(looks) < looks[0]


def test_a_reloaded_run_says_the_same_to_the_last_bit(finished: Path) -> None:
    run = pegbox.load(finished)
    assert run.evaluate() == run.result["scores"]["test"]
    assert run.evaluate("valid") == run.result["scores"]["valid"]
    rows = [row for row in corpus_rows(run.recipe, None) if row.split == "test"]
    first, second = (speaking(open_model(run)).sound(rows[0]) for _ in range(2))
    assert np.array_equal(first, second)
    kept, rate = soundfile.read(finished / "samples" / f"{rows[0].id}-said.wav", dtype="float32")
    assert rate == 16_000 and np.abs(kept - np.clip(first, -1, 1)).max() < 1e-4
    assert (finished / "samples" / f"{rows[0].id}-reference.wav").exists()


def test_an_interrupted_run_ends_with_the_same_numbers(network: Path, units: Path, tmp_path: Path) -> None:
    settings = settings_of(network, units, train={"validate_steps": 2, "epochs": 4})
    ends_with_the_same_numbers(settings, tmp_path, step=5)


def test_dropout_of_the_frozen_network_stays_off_while_it_is_taught(network: Path, units: Path) -> None:
    speaker = backbones.load_speaker(str(network))
    assert speaker.config.encoder_dropout_rate > 0
    recipe = make(settings_of(network, units))
    model = Session(recipe).model(recipe, data_of(corpus_rows(recipe, None), build("synthesize"), speaker), 0, None)
    lesson = Speaking(model.train(), model.backbone, Feed(model.backbone, None))  # type: ignore[arg-type]
    rows = corpus_rows(recipe, None)[:4]
    assert float(lesson.loss(rows).detach()) == float(lesson.loss(rows).detach())
    assert not model.backbone.core.training
    model.delta.detach()


def test_a_batch_pads_without_a_trace_in_what_is_padded(network: Path, units: Path) -> None:
    """One clip's loss is the same alone and beside its copy: the mean over a batch."""
    recipe = make(settings_of(network, units))
    session = Session(recipe)
    model = session.model(recipe, session.data(None), 0, None)
    lesson = Speaking(model, model.backbone, Feed(model.backbone, None))  # type: ignore[arg-type]
    row = corpus_rows(recipe, None)[0]
    assert torch.allclose(lesson.loss([row]), lesson.loss([row, row]), rtol=1e-5)
    model.delta.detach()


def test_the_plan_knows_what_training_will_count(network: Path, units: Path, finished: Path) -> None:
    planned = plan(make(settings_of(network, units, "lora(rank=2) + bitfit")))
    assert planned.parameters == {k: v for k, v in pegbox.load(finished).result["parameters"].items() if k != "share"}
    assert planned.cache == "none: the network reads text" and planned.family == "fastspeech2_conformer"


@pytest.mark.parametrize(
    "method",
    ["child(keep=0.05, batches=2)", 'child(keep=0.05, choose="magnitude")', "bitfit + child(keep=0.01, batches=1)"],
)
def test_a_child_of_a_speaking_network_is_chosen_trained_and_read_again(
    method: str, network: Path, units: Path, tmp_path: Path
) -> None:
    result = pegbox.train(settings_of(network, units, method), tmp_path / "run")
    assert result["parameters"]["delta"] > 0 == result["parameters"]["head"]
    assert pegbox.load(tmp_path / "run").evaluate("test") == pytest.approx(result["scores"]["test"])


def test_methods_compete_for_a_speaking_network(network: Path, units: Path, tmp_path: Path) -> None:
    found = pegbox.train(settings_of(network, units, "ad_tuning(batches=1, strive=0.5)"), tmp_path / "run")
    assert found["search"]["chosen"].startswith("child(") and len(found["search"]["table"]) == 3
    candidates = plan(make(settings_of(network, units, "auto(budget=0.1)"))).candidates
    kinds = {spec.partition("(")[0] for spec in candidates}
    assert {"lora", "bottleneck", "child", "bitfit"} <= kinds
    assert not {"weighted_sum", "adapter_bias"} & kinds  # which have no part in it


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "linear_probe"}, "trains nothing inside the network"),
        ({"method": "ladder"}, "ladder"),
        ({"task": "synthesize(voice=2)"}, "the network has 2 voices"),
        ({"task": "synthesize(voice=-1)"}, "counted from 0"),
        ({"task": 'synthesize(label="words")'}, "no label 'words'"),
        ({"task": 'ctc(label="phonemes")'}, "reads text, not waveforms"),
        ({"backbone": "tiny"}, "is an encoder"),
        ({"features": "last"}, "no head reads"),
        ({"train": {"checkpointing": True}}, "only an encoder's blocks"),
        ({"train": {"precision": "bf16"}}, "fp32 only"),
        ({"train": {"mixup": 0.5}}, "mixup"),
        ({"train": {"crop": 1.0}}, "crop"),
    ],
)
def test_what_makes_no_sense_is_refused(
    changes: dict[str, Any], message: str, network: Path, units: Path, tmp_path: Path
) -> None:
    with pytest.raises(RecipeError if "words" not in str(changes) else CorpusError, match=message):
        pegbox.train(settings_of(network, units) | changes, tmp_path / "run")


def test_the_page_lists_the_methods_that_are_refused_and_no_others(network: Path, units: Path) -> None:
    page = (Path(__file__).parents[1] / "docs" / "synthesis.md").read_text(encoding="utf-8")
    rows = page.partition("| methods | because |")[2].partition("\n\n")[0].splitlines()[2:]
    listed = {name for row in rows for name in re.findall("`([a-z0-9_]+)`", row.split("|")[1])}
    assert refused_by(lambda method: settings_of(network, units, method)) == listed


def test_a_run_that_speaks_hears_nothing_and_the_other_way_round(finished: Path, units: Path) -> None:
    with pytest.raises(RecipeError, match="pegbox say"):
        pegbox.load(finished).predict([units.parent / "0.wav"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"times": None}, "1 of 8 rows of 'train' have no label 'times'"),
        ({"times": "[]"}, "must hold units"),
        ({"times": "soon"}, "'times' is JSON"),
        ({"times": '[["a", 0.2, 0.1]]'}, "one after another"),
        ({"phonemes": "a b"}, "its units are 'a b'"),
        ({"phonemes": "c", "times": '[["c", 0.0, 0.2]]'}, "no symbol for 'c'; it knows _ a b"),
    ],
)
def test_labels_that_do_not_fit_are_refused_before_training(
    change: dict[str, Any], message: str, network: Path, units: Path, tmp_path: Path
) -> None:
    lines = [json.loads(line) for line in units.read_text().splitlines()]
    lines = [line | {"path": str(units.parent / line["path"])} for line in lines]
    lines[0] = {key: value for key, value in (lines[0] | change).items() if value is not None}
    (tmp_path / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(CorpusError, match=message):
        pegbox.train(settings_of(network, tmp_path / "manifest.jsonl"), tmp_path / "run")


def test_a_checkpoint_without_scales_is_refused(network: Path, units: Path, tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((network / name).read_bytes())
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"sampling_rate": 16_000}))
    with pytest.raises(WeightsError, match="symbols and scales"):
        plan(make(settings_of(tmp_path, units)))


def test_frames_are_dealt_out_whole_and_gaps_are_pauses() -> None:
    times = [("a", 0.05, 0.10), ("b", 0.11, 0.20), ("a", 0.30, 0.40)]
    whole = script.paused(times, 0.6, least=0.032)
    assert whole == [
        *(("_", 0.0, 0.05), ("a", 0.05, 0.11), ("b", 0.11, 0.20), ("_", 0.20, 0.30), ("a", 0.30, 0.40)),
        ("_", 0.40, 0.6),
    ]
    analysis = script.read(SETTINGS, "here").analysis
    wave = np.random.default_rng(0).normal(size=9_600).astype(np.float32) * 0.1
    found = script.raw(wave, times, analysis, "noise")
    assert found.symbols == ("_", "a", "b", "_", "a", "_")
    assert int(found.frames.sum()) == len(found.mel) == analysis.frames(9_600)
    line = script.read(SETTINGS, "here").line(found, "noise")
    assert torch.allclose(script.read(SETTINGS, "here").logarithms(line.mel), found.mel, atol=1e-5)


def test_a_symbol_that_the_network_lacks_is_spelt_by_those_that_it_has() -> None:
    known = script.read(SETTINGS | {"symbols": ["_", "a", "aɪ", "ɚ"]}, "here")
    assert known.spelt("aɪɚ") == ("aɪ", "ɚ") and known.spelt("a") == ("a",) and known.spelt("ʔ") == ("ʔ",)
    with pytest.raises(CorpusError, match="no symbol for 'ʔ'; it knows _ a aɪ ɚ"):
        known.numbers(["a", "ʔ"], "here")


def test_texts_fall_into_parts() -> None:
    assert list(parts("One, two. Three!  12.5% of it?\nFour")) == ["One, two.", "Three!", "12.5% of it?", "Four"]
    assert list(parts("Hello ... — ? there")) == ["Hello ...", "there"]
    long = list(parts("word " * 500))
    assert len(long) == -(-500 // LONGEST) and sum(len(part.split()) for part in long) == 500
    for nothing in ("", "  \n", "?!… —"):
        with pytest.raises(RecipeError, match="nothing to say"):
            list(parts(nothing))
    with pytest.raises(RecipeError, match="2 letters of another script than Latin, д н"):
        list(parts("дн 5"))
