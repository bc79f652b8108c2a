"""Laws of training: interruption, selection, liveness, what moves and what does not, what an artefact holds."""

import json
import math
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch import nn

import pegbox
from pegbox import backbones, methods
from pegbox.errors import CorpusError, DeadParameterError, NonFiniteError, RecipeError, WeightsError
from pegbox.recipe import Recipe, Train, make
from pegbox.rows import seconds
from pegbox.run import load_trials
from pegbox.surgery import read_tensors, save_tensors
from pegbox.tasks.classify import Classify
from pegbox.tasks.ctc import Ctc
from pegbox.training import checkpoint, logs, optim
from pegbox.training.crew import default_device
from pegbox.training.feed import Feed, in_order, shuffled
from pegbox.training.loop import Step, Stopped, Trainer, Validated, better
from pegbox.training.plans import plan
from pegbox.training.prepare import assemble, corpus_rows, count, data_of
from pegbox.training.session import Session
from pegbox.training.trial import Finished, Started, run_trial


def recipe_of(hubert: Path, tones: Path, method: str = "lora(rank=2)", **changes: Any) -> Recipe:
    train = {"epochs": 3, "batch_clips": 8} | changes.pop("train", {})
    settings = {
        "backbone": str(hubert),
        "method": method,
        "task": 'classify(label="class", projection=8)',
        "corpus": f'folder(root="{tones}", valid=0.2, test=0.2)',
        "train": train,
    }
    return make(settings | changes)


def trainer_of(recipe: Recipe, seed: int = 0) -> tuple[Trainer, Any]:
    session = Session(recipe)
    data = session.data(None)
    torch.manual_seed(seed)
    model = assemble(recipe, session.backbone, session.task, data.vocabulary)
    chosen = methods.parse(recipe.method)
    return Trainer(model, Feed(session.backbone, None), chosen, recipe.train, seed, session.accelerator), data


def scores_of(result: dict[str, Any]) -> dict[str, Any]:
    return {key: result[key] for key in ("scores", "steps", "best_step", "stopped", "parameters")}


@pytest.mark.parametrize(
    "method", ["lora(rank=2)", "bottleneck(size=4)", "full", "weighted_sum", "linear_probe + bitfit"]
)
@pytest.mark.parametrize("interrupt_after", [1, 7])
def test_resumed_equals_uninterrupted(
    method: str, interrupt_after: int, hubert: Path, tones: Path, tmp_path: Path
) -> None:
    recipe = recipe_of(hubert, tones, method, train={"validate_steps": 2, "accumulate": 2, "epochs": 5})
    whole = pegbox.train(recipe, tmp_path / "whole")
    seen = []

    def stop(event: Any, folder: Path) -> None:
        seen.append(event)
        if isinstance(event, Step) and event.step == interrupt_after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pegbox.train(recipe, tmp_path / "cut", stop)
    assert not (tmp_path / "cut" / "result.json").exists()
    starts = []
    resumed = pegbox.train(recipe, tmp_path / "cut", lambda event, _: starts.append(event))
    assert starts[0].resumed_at == interrupt_after // 2 * 2
    assert scores_of(resumed) == scores_of(whole)
    tensors, _ = read_tensors(tmp_path / "whole" / "delta.safetensors")
    again, _ = read_tensors(tmp_path / "cut" / "delta.safetensors")
    assert tensors.keys() == again.keys() and all(torch.equal(tensors[name], again[name]) for name in tensors)
    steps = [row["step"] for row in logs.read(tmp_path / "cut") if row["event"] == "step"]
    assert steps == list(range(1, whole["steps"] + 1))
    assert not (tmp_path / "cut" / "state.safetensors").exists()


def test_a_killed_process_resumes_to_the_same_numbers(hubert: Path, tones: Path, tmp_path: Path) -> None:
    changes = {"train": {"epochs": 40, "validate_steps": 3}}
    whole = pegbox.train(recipe_of(hubert, tones, **changes), tmp_path / "whole")
    script = (
        "import sys, json; sys.path.insert(0, sys.argv[1])\n"
        "import pegbox\n"
        "from pegbox.recipe import make\n"
        "pegbox.train(make(json.loads(sys.argv[2])), sys.argv[3])\n"
    )
    settings = json.dumps(asdict(recipe_of(hubert, tones, **changes)))
    out = tmp_path / "killed"
    child = subprocess.Popen([sys.executable, "-c", script, str(Path(__file__).parents[1]), settings, str(out)])
    while not (out / "state.safetensors").exists() and child.poll() is None:
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert not (out / "result.json").exists(), "the child was too fast for this test"
    resumed = pegbox.train(recipe_of(hubert, tones, **changes), out)
    assert scores_of(resumed) == scores_of(whole)


def test_several_seeds_give_mean_and_deviation_and_the_best_is_loaded(
    hubert: Path, tones: Path, tmp_path: Path
) -> None:
    result = pegbox.train(recipe_of(hubert, tones, seeds=[0, 1, 2]), tmp_path / "run")
    values = [each["scores"]["test"]["accuracy"] for each in result["trials"]]
    assert math.isclose(result["mean"]["test"]["accuracy"], np.mean(values))
    assert math.isclose(result["deviation"]["test"]["accuracy"], np.std(values, ddof=1))
    valid = {each["trial"]: each["scores"]["valid"]["accuracy"] for each in result["trials"]}
    assert valid[result["best_trial"]] == max(valid.values())
    assert pegbox.load(tmp_path / "run").folder.name == result["best_trial"]
    assert [run.result["seed"] for run in load_trials(tmp_path / "run")] == [0, 1, 2]
    losses = {
        tuple(row["loss"] for row in logs.read(tmp_path / "run" / f"seed-{seed}") if row["event"] == "step")
        for seed in (0, 1, 2)
    }
    assert len(losses) == 3


def test_the_same_seed_gives_the_same_numbers(hubert: Path, tones: Path, tmp_path: Path) -> None:
    recipe = recipe_of(hubert, tones, "lora(rank=2, dropout=0.3)")
    first, second = (pegbox.train(recipe, tmp_path / name) for name in "ab")
    assert scores_of(first) == scores_of(second)
    one, two = (read_tensors(tmp_path / name / "delta.safetensors")[0] for name in "ab")
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_reloaded_run_predicts_what_it_predicted(hubert: Path, tones: Path, tmp_path: Path) -> None:
    pegbox.train(recipe_of(hubert, tones), tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run" / "predictions.jsonl").read_text().splitlines()]
    test = [line for line in lines if line["split"] == "test"]
    said = pegbox.load(tmp_path / "run").predict([tones / line["id"] for line in test])
    assert len(test) == 6
    for before, after in zip(test, said, strict=True):
        assert before["said"] == after["said"]
        assert before["probabilities"] == pytest.approx(after["probabilities"], abs=1e-5)
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert pegbox.load(tmp_path / "run").evaluate("test") == pytest.approx(result["scores"]["test"])


def test_the_backbone_does_not_move_and_is_given_back(hubert: Path, tones: Path, tmp_path: Path) -> None:
    for method in ("lora(rank=2) + bitfit", "full"):
        session = Session(recipe_of(hubert, tones, method))
        before = {name: tensor.clone() for name, tensor in session.backbone.core.state_dict().items()}
        (tmp_path / method[:4]).mkdir()
        events = list(run_trial(session, 0, None, tmp_path / method[:4]))
        after = session.backbone.core.state_dict()
        assert isinstance(events[-1], Finished)
        assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)


def test_every_trained_tensor_is_in_the_optimiser_once_and_nothing_else(hubert: Path, tones: Path) -> None:
    settings = {"head_lr": 0.5, "layers_lr": 0.25, "delta_lr": 0.125, "weight_decay": 0.1}
    trainer, _ = trainer_of(recipe_of(hubert, tones, "lora(rank=2) + bitfit", train=settings))
    groups = {group["name"]: group for group in trainer.optimizer.param_groups}
    assert groups.keys() == trainer.model.trained().keys()
    assert {name.partition(".")[0]: group["peak"] for name, group in groups.items()} == {
        "delta": 0.125,
        "layers": 0.25,
        "head": 0.5,
    }
    assert groups["layers"]["weight_decay"] == 0 and groups["head.0.weight"]["weight_decay"] == 0.1
    wanting = {id(t) for t in trainer.model.parameters() if t.requires_grad}
    assert wanting == {id(t) for t in trainer.model.trained().values()}


def test_each_method_of_a_union_has_its_own_rate(hubert: Path, tones: Path) -> None:
    trainer, _ = trainer_of(recipe_of(hubert, tones, "full"))
    assert {g["peak"] for g in trainer.optimizer.param_groups if g["name"].startswith("delta.freed")} == {5e-5}


@pytest.mark.parametrize("more", ["", ", dora=True", ', at=["conv", "q"]'])
def test_a_method_may_ask_for_a_multiple_of_its_rate(hubert: Path, tones: Path, more: str) -> None:
    settings = {"delta_lr": 0.125, "warmup": 0.0}
    trainer, _ = trainer_of(recipe_of(hubert, tones, f"lora(rank=2, up_rate=16{more}) + bitfit", train=settings))
    groups = [group for group in trainer.optimizer.param_groups if group["name"].startswith("delta.")]
    ups = [group for group in groups if group["name"].endswith(".up")]
    assert ups and {group["peak"] for group in ups} == {2.0}
    assert {group["peak"] for group in groups if not group["name"].endswith(".up")} == {0.125}
    optim.set_rates(trainer.optimizer, 0.5)
    assert {group["lr"] for group in ups} == {1.0}


def test_scaled_adapters_learn_at_a_tenth_of_the_rate(hubert: Path, tones: Path) -> None:
    peaks = {}
    for spec in ("parallel(size=2)", "mam(length=2, size=2)", "e_adapter(size=2)"):
        trainer, _ = trainer_of(recipe_of(hubert, tones, spec))
        own = {group["name"]: group["peak"] for group in trainer.optimizer.param_groups}
        peaks |= {name: peak for name, peak in own.items() if name.startswith("delta.")}
    slow = {name for name in peaks if any(part in name for part in (".down.", ".up.", ".norm."))}
    assert slow < peaks.keys() and {peaks[name] for name in slow} == {1e-4}
    assert {peaks[name] for name in peaks.keys() - slow} == {1e-3}


def test_a_rate_for_no_trained_tensor_is_refused(hubert: Path, tones: Path) -> None:
    trainer, _ = trainer_of(recipe_of(hubert, tones))
    next(iter(trainer.model.delta.edits.values())).rates = {"upp": 16.0}
    with pytest.raises(RecipeError, match=r"sets the rate of '.*\.upp', which is no trained tensor"):
        optim.make_optimizer(trainer.model, methods.parse("lora(rank=2)"), trainer.settings)


def test_accumulation_equals_one_large_batch(hubert: Path, tones: Path) -> None:
    results = []
    for accumulate, clips in ((1, 6), (3, 2)):
        trainer, data = trainer_of(recipe_of(hubert, tones, train={"accumulate": accumulate, "batch_clips": clips}))
        rows = sorted(data.rows["train"], key=lambda row: row.id)[:6]
        trainer._update([rows[i : i + clips] for i in range(0, 6, clips)], 0.5)
        results.append(trainer.model.tensors())
    for name in results[0]:
        torch.testing.assert_close(results[0][name], results[1][name], atol=2e-5, rtol=1e-4)


@dataclass(frozen=True)
class WithDeadWeight(Classify):
    """A task whose head holds a tensor that nothing reads."""

    def head(self, width: int, vocabulary: tuple[str, ...]) -> nn.Module:
        head = super().head(width, vocabulary)
        head.register_parameter("never_read", nn.Parameter(torch.ones(3)))
        return head


def test_a_dead_tensor_stops_after_the_second_step(hubert: Path, tones: Path) -> None:
    trainer, data = trainer_of(recipe_of(hubert, tones))
    task = WithDeadWeight("class", 8)
    model = trainer.model
    model.head = task.head(model.backbone.width, model.vocabulary)
    trainer.optimizer = optim.make_optimizer(model, methods.parse("lora(rank=2)"), trainer.settings)
    events = trainer.events(data.rows["train"], data.rows["valid"])
    assert isinstance(next(events), Step)
    with pytest.raises(DeadParameterError, match=r"head\.never_read"):
        list(events)


def test_an_edit_above_what_the_head_reads_is_refused_before_training(hubert: Path, tones: Path) -> None:
    with pytest.raises(RecipeError, match="would never train"):
        plan(recipe_of(hubert, tones, features=1))
    planned = plan(recipe_of(hubert, tones, 'lora(rank=2, blocks="0")', features=1))
    assert planned.parameters["delta"] == 2 * 2 * 2 * 16


def test_a_loss_that_is_not_finite_stops_with_the_clips(hubert: Path, tones: Path, tmp_path: Path) -> None:
    recipe = recipe_of(hubert, tones, train={"head_lr": 1e30, "warmup": 0.0})
    with pytest.raises(NonFiniteError, match=r"\.flac"):
        pegbox.train(recipe, tmp_path / "run")
    assert not (tmp_path / "run" / "result.json").exists()


def test_patience_stops_and_the_best_step_is_kept(hubert: Path, tones: Path, tmp_path: Path) -> None:
    recipe = recipe_of(hubert, tones, train={"epochs": 60, "patience": 2, "head_lr": 0.05})
    result = pegbox.train(recipe, tmp_path / "run")
    looks = [row for row in logs.read(tmp_path / "run") if row["event"] == "validated"]
    assert result["stopped"] == "patience" and len(looks) < 60
    best = max(looks, key=lambda row: (row["accuracy"], -row["valid_loss"], -row["step"]))
    assert result["best_step"] == best["step"] and result["scores"]["valid"]["accuracy"] == best["accuracy"]


def test_better_knows_its_direction_and_nan() -> None:
    assert better("max", 0.6, 0.5) and not better("max", 0.5, 0.5) and better("min", 0.4, 0.5)
    assert better("max", 0.1, None) and not better("max", math.nan, None) and not better("min", math.nan, 0.5)


def test_the_course_of_the_rates() -> None:
    train = make({"backbone": "b", "method": "lora", "task": "ctc", "corpus": 'folder(root="x")'}).train
    linear, cosine, constant = (replace(train, schedule=name, warmup=0.2) for name in ("linear", "cosine", "constant"))
    for settings in (linear, cosine, constant):
        assert optim.factor(0.1, settings) == pytest.approx(0.5) and optim.factor(0.2, settings) == pytest.approx(1.0)
    assert optim.factor(0.6, linear) == pytest.approx(0.5) and optim.factor(1.0, linear) == 0.0
    assert optim.factor(0.6, cosine) == pytest.approx(0.5) and optim.factor(1.0, cosine) == pytest.approx(0.0)
    assert optim.factor(1.0, constant) == 1.0


def test_the_rate_is_held_as_in_sure_and_drops_at_epochs_as_in_ipet() -> None:
    # SURE's slot filling: peak 2e-4, 50,000 steps, 5,000 of warm-up; the rates of the authors' own log
    held = Train(warmup=0.1, hold=0.4)
    known = {100: 4e-6, 5_000: 2e-4, 25_000: 2e-4, 31_200: 1.504e-4, 50_000: 0.0}
    assert {step: 2e-4 * optim.factor(step / 50_000, held) for step in known} == pytest.approx(known)
    stepped = Train(schedule="constant", warmup=0.0, milestones=tuple(range(5, 26)), decay=0.85)
    found = [optim.factor(0.5, stepped, epoch) for epoch in (0, 4, 5, 24, 25, 39)]
    assert found == pytest.approx([1.0, 1.0, 0.85, 0.85**20, 0.85**21, 0.85**21])


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "childnet_adamw"])
def test_betas_and_eps_reach_every_optimiser(optimizer: str, hubert: Path, tones: Path) -> None:
    settings = {"optimizer": optimizer, "betas": [0.95, 0.99], "eps": 1e-6, "weight_decay": 0.5}
    trainer, _ = trainer_of(recipe_of(hubert, tones, train=settings))
    assert {(*group["betas"], group["eps"]) for group in trainer.optimizer.param_groups} == {(0.95, 0.99, 1e-6)}
    own, _ = trainer_of(recipe_of(hubert, tones, train={"optimizer": optimizer}))
    wanted = 1e-7 if optimizer == "childnet_adamw" else 1e-8
    assert {group["eps"] for group in own.optimizer.param_groups} == {wanted}


def test_adams_decay_is_part_of_the_gradient(hubert: Path, tones: Path) -> None:
    settings = {"optimizer": "adam", "weight_decay": 1e6, "warmup": 0.0, "head_lr": 0.25}
    trainer, data = trainer_of(recipe_of(hubert, tones, train=settings))
    weight = trainer.model.head[0].weight
    before = weight.detach().clone()
    trainer._update([data.rows["train"][:2]], 0.0)
    torch.testing.assert_close(weight.detach(), before - 0.25 * before.sign(), atol=1e-3, rtol=1e-3)


def test_crops_are_what_an_epoch_hears_and_a_second_run_hears_the_same(hubert: Path, tones: Path) -> None:
    recipe = recipe_of(hubert, tones, train={"epochs": 2, "crop": 0.2})
    assert plan(recipe).cache.startswith("none: train.crop")
    heard = []
    for _ in range(2):
        trainer, data = trainer_of(recipe)
        events = list(trainer.events(data.rows["train"], data.rows["valid"]))
        heard.append([(each.audio_seconds, each.loss) for each in events if isinstance(each, Step)])
    longest = 0.2 * 8 + 1e-6  # clips a batch
    assert heard[0] == heard[1] and max(length for length, _ in heard[0]) <= longest


def test_labels_of_whole_clips_are_not_cropped(hubert: Path, tones: Path) -> None:
    with pytest.raises(RecipeError, match=r"train\.crop=0\.2: the labels of ctc.* belong to whole clips"):
        plan(recipe_of(hubert, tones, task='ctc(label="class")', train={"crop": 0.2}))


def test_an_epoch_has_every_clip_once_within_the_limits(hubert: Path, tones: Path) -> None:
    rows = corpus_rows(recipe_of(hubert, tones), None)
    for epoch in range(3):
        batches = shuffled(rows, 1.5, 5, 0, epoch)
        assert sorted(row.id for batch in batches for row in batch) == sorted(row.id for row in rows)
        assert all(len(batch) <= 5 and len(batch) * max(map(seconds, batch)) <= 1.5 for batch in batches)
    assert shuffled(rows, 1.5, 5, 0, 0) == shuffled(rows, 1.5, 5, 0, 0) != shuffled(rows, 1.5, 5, 0, 1)
    assert sorted(row.id for batch in in_order(rows, 1.0, 4) for row in batch) == sorted(row.id for row in rows)


def test_bf16_holds_the_frozen_blocks_in_half_and_the_delta_in_full(hubert: Path, tones: Path, tmp_path: Path) -> None:
    recipe = recipe_of(hubert, tones, "lora(rank=2) + bottleneck(size=4) + bitfit", train={"precision": "bf16"})
    trainer, _ = trainer_of(recipe)
    assert {t.dtype for t in trainer.model.trained().values()} == {torch.float32}
    assert trainer.model.backbone.blocks[0].get_submodule("feed_forward.output_dense").weight.dtype == torch.bfloat16
    model = trainer.model
    framewise = assemble(replace(recipe, method="weighted_sum"), backbones.load(str(hubert), "bf16"), Ctc(), ("", "a"))
    states = {0: torch.ones(1, 2, 16, dtype=torch.bfloat16), 1: torch.ones(1, 2, 16), 2: torch.ones(1, 2, 16)}
    assert framewise._mixed(states).dtype == torch.float32 and model.head(torch.ones(1, 16)).dtype == torch.float32
    half, whole = (
        pegbox.train(recipe_of(hubert, tones, method, train={"precision": "bf16"}), tmp_path / method)
        for method in ("lora(rank=2)", "full")
    )
    assert half["scores"]["test"]["accuracy"] >= 0 and whole["scores"]["test"]["accuracy"] >= 0


def test_another_backbone_is_refused_by_its_digest(hubert: Path, tones: Path, tmp_path: Path) -> None:
    from _made import save_hubert

    pegbox.train(recipe_of(hubert, tones), tmp_path / "run")
    other = save_hubert(tmp_path / "other", seed=1)
    with pytest.raises(WeightsError, match="digest"):
        pegbox.load(tmp_path / "run").predict([next((tones / "low").iterdir())], backbone=str(other))


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "delta.safetensors"
    save_tensors(path, {"a": torch.ones(2)}, {"x": 1})
    whole = path.read_bytes()
    with pytest.raises(RuntimeError):
        save_tensors(path, {"a": torch.ones(2), "b": torch.ones(3, device="meta")}, {})
    assert path.read_bytes() == whole
    path.write_bytes(whole[:-3])
    with pytest.raises(WeightsError, match="interrupted"):
        read_tensors(path)


FULL_DISK = """
import json, resource, sys
import pegbox
import pegbox.errors
from pegbox.recipe import Train, make
recipe = make(json.loads(sys.argv[1]))
backbone_first = pegbox.load_backbone(recipe.backbone)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), -1))  # every file ends there, as on a full disk
try:
    pegbox.train(recipe, sys.argv[2])
except pegbox.errors.PegboxError as problem:
    print(type(problem).__name__, problem)
"""


@pytest.mark.parametrize(
    ("room", "use_cache", "message"), [(3000, False, "cannot be written"), (3000, True, "cache.use=false")]
)
def test_a_full_disk_is_a_clear_error_and_leaves_nothing_half(
    room: int, use_cache: bool, message: str, hubert: Path, tones: Path, tmp_path: Path
) -> None:
    recipe = recipe_of(hubert, tones, train={"epochs": 2}, cache={"use": use_cache})
    arguments = [json.dumps(asdict(recipe)), str(tmp_path / "run"), str(room)]
    done = subprocess.run([sys.executable, "-c", FULL_DISK, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("PegboxError") and message in done.stdout
    left = {path.name for path in (tmp_path / "run").iterdir()}
    assert not left & {"result.json", "delta.safetensors", "state.safetensors"}
    assert not [name for name in left if name.endswith(".part")]
    pegbox.train(recipe, tmp_path / "run")


def test_a_folder_that_holds_another_recipe_is_refused(hubert: Path, tones: Path, tmp_path: Path) -> None:
    pegbox.train(recipe_of(hubert, tones), tmp_path / "run")
    with pytest.raises(RecipeError, match="already finished"):
        pegbox.train(recipe_of(hubert, tones), tmp_path / "run")
    with pytest.raises(RecipeError, match="another recipe"):
        pegbox.train(recipe_of(hubert, tones, "bitfit"), tmp_path / "run")


def test_a_plan_tells_what_the_run_then_has(hubert: Path, tones: Path, tmp_path: Path) -> None:
    recipe = recipe_of(hubert, tones, 'lora(rank=2, blocks="1:")')
    planned, result = plan(recipe), pegbox.train(recipe, tmp_path / "run")
    assert planned.parameters == {part: result["parameters"][part] for part in planned.parameters}
    assert planned.cache_bytes == result["cache_bytes"] and planned.cache == result["cache"] == "states of depth 0, 1"
    assert planned.steps == result["steps"] and planned.clips == result["clips"]


def test_clips_too_short_for_the_network_are_listed(hubert: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "c" / name).mkdir(parents=True)
        for index in range(6):
            soundfile.write(tmp_path / "c" / name / f"{index}.wav", np.zeros(300 if index == 0 else 4000), 16_000)
    with pytest.raises(CorpusError, match=r"(?s)2 of 12 clips.*300 samples.*at least 400"):
        plan(recipe_of(hubert, tmp_path / "c", task='classify(label="class")'))


def test_a_text_longer_than_its_clip_is_refused(hubert: Path, tones: Path, tmp_path: Path) -> None:
    lines = [{"path": str(path), "transcript": "a" * 30} for path in sorted(tones.rglob("*.flac"))]
    (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, lines)))
    with pytest.raises(CorpusError, match="59 frames needed"):
        plan(recipe_of(hubert, tones, task="ctc", corpus=f'manifest(path="{tmp_path}/m.jsonl", root="/")'))


def test_ctc_learns_on_tones(hubert: Path, tones: Path, tmp_path: Path) -> None:
    lines = [{"path": str(path), "transcript": path.parent.name[0]} for path in sorted(tones.rglob("*.flac"))]
    (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, lines)))
    corpus = f'manifest(path="{tmp_path}/m.jsonl", root="/", test=0.2, stratify="transcript")'
    recipe = recipe_of(hubert, tones, task="ctc", corpus=corpus, train={"epochs": 12, "head_lr": 0.02})
    assert plan(recipe).parameters["head"] == (16 + 1) * 4
    result = pegbox.train(recipe, tmp_path / "run")
    losses = [row["loss"] for row in logs.read(tmp_path / "run") if row["event"] == "validated"]  # an epoch's mean
    assert losses[-1] < 0.7 * losses[0] and set(result["scores"]["test"]) == {"wer", "cer"}


def test_counts_by_part(hubert: Path, tones: Path) -> None:
    recipe = recipe_of(hubert, tones, "bitfit")
    backbone = backbones.load(str(hubert))
    data = data_of(corpus_rows(recipe, None), Classify("class", 8), backbone)
    own = sum(tensor.numel() for tensor in backbone.core.parameters())
    model = assemble(recipe, backbone, Classify("class", 8), data.vocabulary)
    assert count(model) == {"delta": 2 * (7 * 16 + 32), "layers": 3, "head": 16 * 8 + 8 + 8 * 3 + 3, "backbone": own}


def test_events_come_in_order_and_checkpoints_restore(hubert: Path, tones: Path, tmp_path: Path) -> None:
    trainer, data = trainer_of(recipe_of(hubert, tones))
    events = list(trainer.events(data.rows["train"], data.rows["valid"]))
    kinds = [type(event) for event in events]
    assert kinds[-1] is Stopped and kinds.count(Validated) == 3 and Started not in kinds
    checkpoint.save(trainer, tmp_path / "s")
    fresh, _ = trainer_of(recipe_of(hubert, tones), seed=5)
    checkpoint.restore(fresh, tmp_path / "s")
    assert fresh.progress == trainer.progress
    assert all(
        torch.equal(a, b) for a, b in zip(fresh.model.tensors().values(), trainer.model.tensors().values(), strict=True)
    )
    assert str(default_device()) == str(trainer.accelerator.device)


def test_a_cpu_without_bf16_is_told_before_it_crawls(hubert: Path, tones: Path) -> None:
    without = torch.backends.cpu.get_cpu_capability() in ("DEFAULT", "NO AVX", "AVX", "AVX2")
    assert plan(recipe_of(hubert, tones)).notes == ()
    notes = plan(recipe_of(hubert, tones, train={"precision": "bf16"})).notes
    assert [("no instructions for bf16" in note) for note in notes] == [True] * (
        without and not torch.cuda.is_available()
    )


def test_a_first_batch_without_a_gradient_is_no_dead_part(hubert: Path, tones: Path) -> None:
    """Masks may hide a whole batch: LoRA's ups then wake in the second step, its downs in the third, and not before."""
    trainer, data = trainer_of(recipe_of(hubert, tones))
    loss, seen = trainer.lesson.loss, []

    def masked(group: Any) -> torch.Tensor:
        seen.append(len(trainer.progress.alive))
        head = trainer.model.head[-1]
        return head.weight.sum() + head.bias.sum() if len(seen) == 1 else loss(group)

    trainer.lesson.loss = masked  # type: ignore[method-assign]
    events = trainer.events(data.rows["train"], data.rows["valid"])
    for _ in range(4):
        next(each for each in events if isinstance(each, Step))
    assert trainer.progress.awake and seen == sorted(seen) and seen[1] < seen[2] < seen[3]


def test_a_part_dead_at_the_end_is_refused_though_the_last_step_woke_another(hubert: Path, tones: Path) -> None:
    trainer, data = trainer_of(recipe_of(hubert, tones, train={"steps": 2}))
    lost = next(name for name in trainer.model.trained() if name.startswith("delta.") and name.endswith("down"))
    trainer.model.trained()[lost].register_hook(torch.zeros_like)  # the other downs wake in the second step, the last
    with pytest.raises(DeadParameterError, match=r"1 of .* trained tensors had no gradient in 2 steps"):
        list(trainer.events(data.rows["train"], data.rows["valid"]))
