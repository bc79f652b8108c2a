"""Suites hold what their sources have, cell by cell; every task is a valid recipe and plans on miniatures; scores."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import _sources
import pytest
from _made import save_ast

from pegbox import registry
from pegbox.bench import matrix, superb
from pegbox.recipe import Recipe
from pegbox.training.plans import plan

FOLDER = Path(superb.__file__).parent / "suites"
SUITES = {path.stem: tomllib.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.toml"))}
KEYS = {"name", "about", "backbones", "methods", "seeds", "rates", "score", "train", "cache", "tasks", "override"}
TASK_KEYS = {"name", "task", "corpus", "methods", "features", "folds", "gain", "silence", "train", "note"}
TASKS = [(name, task["name"]) for name, suite in SUITES.items() for task in suite["tasks"]]


def task_of(suite: str, name: str) -> dict[str, Any]:
    (found,) = (task for task in SUITES[suite]["tasks"] if task["name"] == name)
    return found


def recipe(suite: str, name: str, method: str, backbone: str = "b", data: str = "data") -> Recipe:
    """Returns the recipe of one task under one method, of the first seed and fold."""
    whole = matrix.make(SUITES[suite] | {"backbones": [backbone]})
    (group,) = matrix.groups(matrix.under(matrix.only(whole, [name]), [method]), data)
    return group.finals(1.0)[0].recipe


def options(spec: str) -> dict[str, Any]:
    return dict(registry.parse(spec)[0].options)


def methods_of(suite: str, task: str) -> Iterator[str]:
    whole = matrix.make(SUITES[suite] | {"backbones": ["b"]})
    yield from (group.method for group in matrix.groups(matrix.only(whole, [task]), "data"))


# --- form ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SUITES)
def test_a_suite_has_the_form_that_suites_have(name: str) -> None:
    suite = SUITES[name]
    assert suite["name"] == name and suite.keys() <= KEYS and suite["about"].strip()
    names = [task["name"] for task in suite["tasks"]]
    assert len(set(names)) == len(names) and all(task.keys() <= TASK_KEYS for task in suite["tasks"])
    specs = {*suite.get("methods", []), *(method for task in suite["tasks"] for method in task.get("methods", []))}
    bare = {call.name for method in specs for call in registry.parse(method)}
    for override in suite.get("override", []):
        assert override.keys() <= {"methods", "tasks", "backbones", "train"} and override["train"]
        assert {*override.get("methods", [])} <= bare and {*override.get("tasks", [])} <= {*names}


@pytest.mark.parametrize(("suite", "task"), TASKS)
def test_every_task_is_a_valid_recipe_with_every_method(suite: str, task: str) -> None:
    made = [recipe(suite, task, method) for method in methods_of(suite, task)]
    assert made and len({each.digest for each in made}) == len(made)


# --- what the sources have ----------------------------------------------------------------------------------------

# task: rate, optimiser, steps, batch, accumulation, clip, validation every, better by
SUPERB = {
    "PR": (1e-2, "adam", 100_000, 16, 2, 1, 1_000, "per"),
    "ASR": (1e-4, "adam", 200_000, 16, 1, 1, 2_000, "wer"),
    "KS": (1e-4, "adam", 200_000, 32, 1, 1, 5_000, "accuracy"),
    "SID": (1e-4, "adam", 200_000, 8, 4, 1, 5_000, "accuracy"),
    "ASV": (1e-4, "adamw", 200_000, 10, 5, 1_000, 20_000, "eer"),
    "SD": (1e-4, "adam", 30_000, 8, 4, 1, 500, "frame_accuracy"),
    "IC": (1e-4, "adam", 200_000, 32, 1, 1, 5_000, "accuracy"),
    "SF": (1e-4, "adam", 200_000, 32, 1, 1, 2_000, "slot_type_f1"),
    "ER": (1e-4, "adam", 30_000, 4, 8, 1, 1_000, "accuracy"),
}
OUT_OF_DOMAIN = {
    "OOD-ASR es": (1e-4, "adam", 500_000, 16, 1, 1, 2_000, "wer"),
    "OOD-ASR zh-CN": (1e-4, "adam", 500_000, 16, 1, 1, 5_000, "cer"),
    "OOD-ASR ar": (1e-4, "adam", 500_000, 16, 1, 1, 5_000, "wer"),
}


@pytest.mark.parametrize(
    ("suite", "task", "cells"),
    [*(("superb", *each) for each in SUPERB.items()), *(("superb_sg", *each) for each in OUT_OF_DOMAIN.items())],
)
def test_superb_has_the_settings_of_its_table(suite: str, task: str, cells: tuple[Any, ...]) -> None:
    from pegbox import tasks

    made = recipe(suite, task, "weighted_sum")
    train = made.train
    found = (train.head_lr, train.optimizer, train.steps, train.batch_clips, train.accumulate, train.clip)
    assert (*found, train.validate_steps, tasks.build(made.task).metric) == cells
    assert train.layers_lr == train.head_lr and (train.warmup, train.schedule) == (0.0, "constant")
    assert train.weight_decay == (0.01 if task == "ASV" else 0.0) and made.features == "weighted"
    assert made.seeds == (1337,)


def test_superb_has_every_task_of_the_table_and_its_crops_and_folds() -> None:
    assert {task["name"] for task in SUITES["superb"]["tasks"]} == {*SUPERB} == {*superb.PAPER} - {"QbE"}
    crops = {name: recipe("superb", name, "weighted_sum").train.crop for name in SUPERB}
    assert {name: crop for name, crop in crops.items() if crop} == {"SID": 8.0, "ASV": 8.0}
    assert task_of("superb", "ER")["folds"] == [1, 2, 3, 4, 5]
    assert options(task_of("superb", "ASV")["task"]) | {"scale": 30.0, "margin": 0.4, "size": 512} == options(
        task_of("superb", "ASV")["task"]
    )


# task: rates of full, bottleneck, prefix, lora, conv_adapter; batch a device, accumulation, the length of it
WAYS = ("full", "bottleneck", "prefix", "lora", "conv_adapter")
SURE: dict[str, tuple[tuple[float, ...], int, int, dict[str, Any]]] = {
    "emotion MELD": ((2e-3,) * 5, 64, 4, {"epochs": 100, "validate_steps": 25, "patience": 5}),
    "emotion ESD": ((2e-3, 8e-6, 8e-6, 8e-6, 5e-3), 64, 4, {"epochs": 100, "patience": 5}),
    "emotion IEMOCAP": ((8e-6, 2e-4, 2e-2, 2e-4, 2e-4), 64, 4, {"epochs": 100, "patience": 5}),
    "speaker VCTK": ((8e-6, 8e-6, 2e-3, 2e-4, 2e-3), 64, 4, {"epochs": 100, "validate_steps": 25, "patience": 5}),
    "speaker ESD": ((8e-6, 8e-6, 8e-6, 8e-6, 2e-3), 64, 4, {"epochs": 100, "validate_steps": 25, "patience": 5}),
    "KS": ((8e-6, 8e-6, 2e-4, 8e-6, 2e-4), 64, 4, {"epochs": 100, "validate_steps": 25, "patience": 5}),
    "intent": ((2e-4, 2e-4, 2e-3, 2e-4, 2e-4), 8, 4, {"epochs": 100, "validate_steps": 25, "patience": 3}),
    "slots": ((2e-4, 2e-4, 2e-3, 2e-4, 2e-5), 8, 1, {"steps": 50_000, "validate_steps": 200, "hold": 0.4}),
    "PR": ((2e-2, 2e-3, 2e-2, 2e-2, 2e-2), 16, 4, {"validate_steps": 100, "patience": 5, "weight_decay": 0.005}),
    "ASR FLEURS": ((2e-3,) * 5, 32, 1, {"epochs": 50, "validate_steps": 100, "weight_decay": 0.005}),
    "ASR LibriSpeech": ((3e-5, 3e-4, 3e-4, 3e-4, 2e-4), 8, 1, {"steps": 50_000, "hold": 0.4, "weight_decay": 0.005}),
    "ASR ESD": ((8e-6, 2e-5, 2e-3, 2e-3, 2e-4), 8, 1, {}),
}


@pytest.mark.parametrize("task", SURE)
def test_sure_has_the_settings_of_its_table(task: str) -> None:
    rates, batch, accumulate, rest = SURE[task]
    for way, spec, rate in zip(WAYS, SUITES["sure"]["methods"], rates, strict=True):
        made = recipe("sure", task, spec)
        train = made.train
        assert spec.startswith(way) and made.features == "last"
        assert (train.head_lr, train.delta_lr) == (rate, rate), (task, way)
        wanted = 64 if (task, way) == ("ASR LibriSpeech", "conv_adapter") else batch
        assert (train.batch_clips, train.accumulate) == (wanted, 2 * accumulate)  # two devices
        assert {key: getattr(train, key) for key in rest} == rest
        assert (train.optimizer, train.betas, train.schedule, train.clip) == ("adamw", (0.9, 0.999), "linear", 1.0)
        assert train.weight_decay == rest.get("weight_decay", 0.0) or task == "ASR ESD"


def test_sure_warms_up_for_a_tenth_or_a_thousand_steps() -> None:
    for task in SURE:
        if task not in ("PR", "ASR FLEURS"):
            assert recipe("sure", task, "full").train.warmup == 0.1
    assert recipe("sure", "ASR FLEURS", "full").train.warmup * 41 * 50 == pytest.approx(1_000, rel=0.005)
    steps = 28_539 / (16 * 4 * 2)  # an epoch of LibriSpeech's 100 hours
    for method, epochs in (("full", 30), ("bottleneck(size=512)", 100)):
        train = recipe("sure", "PR", method).train
        assert train.epochs == epochs and train.warmup * epochs * steps == pytest.approx(1_000, rel=0.01)


def test_sure_has_its_methods_and_tasks() -> None:
    full, bottleneck, prefix, lora, conv = SUITES["sure"]["methods"]
    assert full == "full" and options(bottleneck) == {"size": 512, "at": ["leave"], "activation": "relu"}
    assert options(prefix) == {"length": 30, "deviation": 1.0, "dropout": 0.1}
    assert options(lora) == {"rank": 8, "alpha": 1.0, "at": ["q", "k", "v", "o", "up", "down"]}
    assert options(conv)["reduction"] == 2 and options(conv)["squeeze"] == 16
    assert {task["name"] for task in SUITES["sure"]["tasks"]} == {*SURE}
    assert options(task_of("sure", "emotion MELD")["task"])["select"] == "weighted_f1"
    assert len(options(task_of("sure", "KS")["corpus"])["words"]) == 11


# network and task: batch, rate, rate of full tuning, prompts, size
IPET = {
    ("ipet", "ESC-50"): (48, 1e-3, 1e-5, 4, 32),
    ("ipet", "FSD50K"): (24, 1e-3, 1e-5, 32, 32),
    ("ipet", "GTZAN"): (32, 4.5e-3, 5e-5, 8, 64),
    ("ipet", "Speech Commands"): (128, 5e-3, 2.5e-4, 4, 128),
    ("ipet", "VoxCeleb1"): (32, 5e-4, 5e-5, 4, 64),
    ("ipet_wav2vec2", "ESC-50"): (48, 2.5e-3, 5e-5, 128, 128),
    ("ipet_wav2vec2", "FSD50K"): (24, 5e-3, 5e-5, 128, 64),
    ("ipet_wav2vec2", "GTZAN"): (32, 5e-3, 2.5e-5, 128, 64),
    ("ipet_wav2vec2", "Speech Commands"): (64, 1e-3, 5e-5, 64, 64),
    ("ipet_wav2vec2", "VoxCeleb1"): (64, 1e-3, 2.5e-5, 64, 128),
}
CROPS = {"ESC-50": 512, "FSD50K": 1024, "GTZAN": 400, "Speech Commands": 128, "VoxCeleb1": 300}  # frames of 10 ms
MIXED = {"ipet": {"FSD50K": 0.5, "GTZAN": 0.3, "Speech Commands": 0.5}, "ipet_wav2vec2": {"FSD50K": 0.5, "GTZAN": 0.3}}
MASKS = {"ESC-50": (24, 96), "FSD50K": (48, 192), "GTZAN": (48, 80), "Speech Commands": (48, 48), "VoxCeleb1": (48, 80)}
SETTINGS = {  # frames, mean, deviation: what Pegbox cannot set is told
    "ESC-50": ("512", "-6.6268077", "5.358466"),
    "FSD50K": ("1,024", "-2.94206", "4.810963"),
    "GTZAN": ("400", "-2.37300301", "3.19099191"),
    "Speech Commands": ("128", "-6.845978", "5.5654526"),
    "VoxCeleb1": ("400", "-4.8955183", "4.2524743"),
}


@pytest.mark.parametrize(("suite", "task"), IPET)
def test_ipet_has_the_settings_of_its_tables(suite: str, task: str) -> None:
    batch, rate, full, prompts, size = IPET[suite, task]
    spec, note = f"ipet(prompts={prompts}, size={size})", task_of(suite, task)["note"]
    assert [*methods_of(suite, task)] == ["full", "linear_probe", spec]
    own, freed = recipe(suite, task, spec).train, recipe(suite, task, "full").train
    assert (own.batch_clips, own.head_lr, own.delta_lr) == (batch, rate, rate)
    assert (freed.head_lr, freed.delta_lr) == (full, full)
    assert (own.optimizer, own.betas, own.weight_decay) == ("adam", (0.95, 0.999), 5e-7)
    assert own.epochs == (30 if suite == "ipet" else 40) and (own.warmup, own.schedule) == (0.0, "constant")
    assert own.milestones == tuple(range(5, 26)) and own.decay == 0.85 and own.clip > 1e6
    assert own.mixup == freed.mixup == MIXED[suite].get(task, 0.0) and not own.balanced
    wanted = MASKS[task] if suite == "ipet" else (0, 0)
    assert (own.mask_bands, own.mask_frames) == (freed.mask_bands, freed.mask_frames) == wanted
    if suite == "ipet":
        assert all(each in note for each in SETTINGS[task])
    else:
        assert own.crop == pytest.approx(CROPS[task] / 100)


def test_ipet_has_its_heads_and_folds() -> None:
    for suite, pooling in (("ipet", "tokens"), ("ipet_wav2vec2", "deviation")):
        assert {task["name"] for task in SUITES[suite]["tasks"]} == {*CROPS}
        for task in SUITES[suite]["tasks"]:
            given = options(task["task"])
            assert given["pooling"] == pooling and given["network"] in ("normed", "pooled")
            assert len(task.get("folds", [])) == {"ESC-50": 5, "GTZAN": 10}.get(task["name"], 0)
        assert options(task_of(suite, "VoxCeleb1")["task"])["size"] == 128


# task: rate, steps, batch, accumulation, steps of warm-up, steps of the competition, validation every
AD_TUNING = {
    "ASR": (1e-4, 200_000, 16, 1, 0, 40_000, 2_000),
    "PR": (3e-4, 100_000, 4, 2, 5_000, 10_000, 1_000),
    "SF": (5e-5, 200_000, 8, 1, 0, 40_000, 2_000),
    "KS": (5e-4, 50_000, 32, 1, 0, 5_000, 5_000),
    "IC": (5e-4, 200_000, 12, 1, 1_000, 20_000, 5_000),
    "SID": (1e-3, 200_000, 8, 4, 5_000, 20_000, 5_000),
    "SD": (5e-4, 30_000, 4, 4, 0, 3_000, 500),
}


@pytest.mark.parametrize("task", AD_TUNING)
def test_ad_tuning_has_the_settings_of_its_table(task: str) -> None:
    rate, steps, batch, accumulate, warmup, strive, every = AD_TUNING[task]
    (spec,) = methods_of("ad_tuning", task)
    train = recipe("ad_tuning", task, spec).train
    assert {train.head_lr, train.layers_lr, train.delta_lr} == {rate}
    assert (train.steps, train.batch_clips, train.accumulate) == (steps, batch, accumulate)
    assert train.warmup * steps == pytest.approx(warmup) and options(spec)["strive"] * steps == pytest.approx(strive)
    assert train.schedule == ("linear" if warmup else "constant") and train.validate_steps == every
    assert (train.optimizer, train.eps, train.clip) == ("childnet_adamw", 1e-7, 1.0)
    assert options(spec)["keep"] == [0.1, 0.01, 0.001]


EFFICIENT = {"ASR": (1e-4, 200_000), "PR": (1e-2, 100_000), "SD": (1e-4, 30_000), "ER": (1e-4, 30_000)}
EFFICIENT |= dict.fromkeys(("SID", "SF", "IC", "KS"), (0.0001, 200000))


@pytest.mark.parametrize("task", EFFICIENT)
def test_efficient_tuning_has_the_settings_that_its_code_ships(task: str) -> None:
    for method in SUITES["efficient_tuning"]["methods"]:
        train = recipe("efficient_tuning", task, method).train
        prompts = method.startswith("deep_prompt")
        assert (train.head_lr, train.steps, train.clip) == (*EFFICIENT[task], 1.0)
        assert train.delta_lr == (1e-3 if prompts else EFFICIENT[task][0])
        assert train.accumulate == {"PR": 2, "SID": 4, "SD": 4, "ER": 8}.get(task, 1)


def test_keywords_alone_are_drawn_evenly_as_the_toolkit_of_superb_does() -> None:
    made = {(suite, task): next(methods_of(suite, task)) for suite, task in TASKS}
    found = {each for each, method in made.items() if recipe(*each, method).train.balanced}
    assert found == {("superb", "KS"), ("efficient_tuning", "KS"), ("ad_tuning", "KS")}


def test_sound_is_as_quiet_as_the_toolkit_of_superb_makes_it() -> None:
    made = {(suite, task): recipe(suite, task, next(methods_of(suite, task))).gain for suite, task in TASKS}
    assert {each for each in TASKS if recipe(*each, next(methods_of(*each))).silence} == {("superb", "ASV")}
    assert {each: gain for each, gain in made.items() if gain} == {
        **dict.fromkeys([("superb", "KS"), ("superb", "ASV")], -3.0),
        **dict.fromkeys([("efficient_tuning", "KS"), ("ad_tuning", "KS")], -3.0),
    }


# --- on miniatures of the corpora ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _sources.data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def spectrogram(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random AST of two blocks with the published input size."""
    return save_ast(tmp_path_factory.mktemp("ast"))


quiet = pytest.mark.filterwarnings("ignore:At least one mel filter")
SMALL = {"sure": "lora(rank=2)", "ad_tuning": "child(keep=0.5, batches=1)", "efficient_tuning": "houlsby(size=2)"}


@quiet
@pytest.mark.parametrize(("suite", "task"), [each for each in TASKS if each[0] != "synthetic"])
def test_every_task_plans_on_its_corpus(suite: str, task: str, data: Path, hubert: Path, spectrogram: Path) -> None:
    backbone = str(spectrogram if suite == "ipet" else hubert)
    method = SMALL.get(suite, "ipet(prompts=2, size=4)" if suite.startswith("ipet") else "weighted_sum")
    made = recipe(suite, task, method, backbone, str(data))
    found = plan(made)
    assert found.clips["train"] >= 1 and found.outputs >= 1
    assert found.steps == made.train.steps or not made.train.steps
    assert found.cache.startswith("none: ") or not made.train.crop


def test_heads_of_superb_have_their_published_outputs(data: Path, hubert: Path) -> None:
    wanted = {"PR": 74, "ASR": 32, "KS": 12, "SD": 2}
    found = {name: plan(recipe("superb", name, "weighted_sum", str(hubert), str(data))).outputs for name in wanted}
    assert found == wanted
