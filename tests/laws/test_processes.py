"""Two processes = one: every method and every task, their gradients, losses and predictions; and what is refused."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
from _crew import in_two
from _models import EXAMPLES, RATE, backbone, clip, method_names, skipping
from torch import Tensor, nn

from pegbox import methods, registry, tasks
from pegbox.delta import Delta
from pegbox.errors import CorpusError, NonFiniteError, RecipeError
from pegbox.methods._shared import BatchNorm
from pegbox.recipe import Train
from pegbox.rows import Row
from pegbox.training.crew import Crew, accelerator
from pegbox.training.feed import Feed
from pegbox.training.loop import Trainer, Validated
from pegbox.training.model import Tuned

LENGTHS = (3000, 2000, 2600, 2400, 3500, 2200, 2800)
SETTINGS = Train(steps=3, batch_clips=3, accumulate=2, delta_lr=1e-3, precision="fp32")  # batches of 3, 3 and 1 clips
SEVERAL = 'child(keep=0.3, choose="magnitude", clip="parent")'
EACH = tuple(EXAMPLES.get(name, (name,))[0] for name in method_names())
NORMED = 'conformer_adapter(size=2, kernel=5, start="paper")'
METHODS = (
    *EACH,
    NORMED,
    f"{NORMED} + {SEVERAL}",
    SEVERAL,
    f"lora(rank=2) + {SEVERAL}",
    'child(keep=0.2, choose="random")',
)
TURNS = ('[["x", 0.0, 0.1], ["y", 0.05, 0.3]]', '[["x", 0.1, 0.2]]', "[]")
TASKS: dict[str, tuple[str, ...]] = {
    'classify(label="word", projection=8)': ("a", "b", "c"),
    'classify(label="word", pooling="deviation", network="normed")': ("a", "b", "c"),
    'tag(label="word")': ("a", "a,b", ""),
    'regress(label="word")': ("1.5", "3", "-2"),
    'regress(label="word", objective="ccc")': ("1.5", "3", "-2"),
    'ctc(label="word")': ("ab", "b", "cab"),
    'ctc(label="word", network="projected", hidden=8)': ("ab", "b", "cab"),
    'ctc(label="word", network="recurrent", hidden=4)': ("ab", "b", "cab"),
    'slots(label="word", slots="word", network="linear")': ("O", "x", "O"),
    'diarize(label="word", hidden=4)': TURNS,
    'verify(label="word", network="pooled", size=8)': ("a", "b", "c"),
    'verify(label="word", size=8, objective="ce")': ("a", "b", "c"),
}
(PLAIN, WORDS), *_ = TASKS.items()


@dataclass(frozen=True)
class Trained:
    """What a short training was: the gradients of every step, losses, tensors, and what is said in the end."""

    gradients: list[dict[str, Tensor]]
    losses: list[float]
    tensors: dict[str, Tensor]
    said: list[dict[str, Any]]


@cache
def clips(folder: Path) -> tuple[str, ...]:
    folder.mkdir(parents=True, exist_ok=True)
    for index, samples in enumerate(LENGTHS):
        soundfile.write(folder / f"{index}.wav", clip(samples, seed=index).numpy(), RATE, subtype="FLOAT")
    return tuple(str(folder / f"{index}.wav") for index in range(len(LENGTHS)))


def rows_of(words: tuple[str, ...], folder: Path) -> list[Row]:
    return [Row(str(n), path, {"word": words[n % len(words)]}, "train") for n, path in enumerate(clips(folder))]


def trainer_of(spec: str, task: str, rows: list[Row], drops: bool = False, again: bool = False) -> Trainer:
    """Returns a trainer whose random numbers are those of every process; without dropout unless it is wanted."""
    network, chosen, made = backbone("hubert-group-pre"), methods.parse(spec), tasks.build(task)
    torch.manual_seed(5)
    delta = Delta(network.core, methods.plan(chosen, network.sites()), network.family.unused)
    names = made.vocabulary({"train": [row.labels for row in rows]})
    features: Any = next((each.features for each in chosen if each.features is not None), "weighted")
    model = Tuned(network, delta, made, names, features)
    for module in model.modules():
        if isinstance(module, nn.Dropout) and not drops:
            module.p = 0.0
        if isinstance(module, nn.LSTM):
            module.dropout = 0.0
    return Trainer(model, Feed(network, None), chosen, replace(SETTINGS, checkpointing=again), 0, accelerator())


def trained(spec: str, task: str, rows: list[Row], drops: bool = False, again: bool = False) -> Trained | str:
    """Returns what came out, or what was refused."""
    try:
        trainer = trainer_of(spec, task, rows, drops, again)
    except RecipeError as refusal:
        return str(refusal)
    gradients: list[dict[str, Tensor]] = []

    def note(*_: Any) -> None:
        every = trainer.model.trained()
        gradients.append({name: each.grad.clone() for name, each in every.items() if each.grad is not None})

    trainer.optimizer.register_step_pre_hook(note)
    events = list(trainer.events(rows, rows))
    losses = [event.loss for event in events[:-1]] + [e.valid_loss for e in events if isinstance(e, Validated)]
    return Trained(gradients, losses, trainer.model.tensors(), trainer.evaluate(rows))


def same(one: Trained, two: Trained) -> None:
    """Gradients are compared with the largest of a step: some are nothing but rounding, such as those of key biases."""
    assert len(one.gradients) == len(two.gradients) == SETTINGS.steps
    for left, right in zip(one.gradients, two.gradients, strict=True):
        assert left.keys() == right.keys()
        largest = max(float(each.abs().max()) for each in left.values())
        for name in left:
            torch.testing.assert_close(left[name], right[name], rtol=1e-3, atol=1e-4 * largest)
    assert two.losses == pytest.approx(one.losses, rel=1e-4, abs=1e-6)
    assert [(row["id"], row["true"]) for row in two.said] == [(row["id"], row["true"]) for row in one.said]


def refusal_of(work: Callable[[], Any]) -> str:
    with pytest.raises((NonFiniteError, CorpusError)) as refused:
        work()
    return f"{type(refused.value).__name__}: {refused.value}"


def broken(rows: list[Row]) -> str:
    """A number that is none in the second process."""
    trainer = trainer_of("lora(rank=2)", PLAIN, rows)
    if trainer.crew.index == 1:
        next(trainer.model.head.parameters()).data.fill_(float("nan"))
    return refusal_of(lambda: list(trainer.events(rows, rows)))


def normed(own: slice) -> dict[str, Tensor]:
    """What a batch norm makes of some of eight rows, and what it keeps; gradients are summed as the crew does."""
    drawn = torch.Generator().manual_seed(3)
    x, weights = (torch.randn(8, 4, generator=drawn).double() + 2 for _ in range(2))
    norm, rows = BatchNorm(4).double(), x[own].clone().requires_grad_()
    norm.shared = own != slice(None)
    said = norm(rows)
    (said * weights[own]).square().sum().backward()
    gradients = {name: each.grad for name, each in norm.named_parameters() if each.grad is not None}
    for each in gradients.values():
        if norm.shared:
            torch.distributed.all_reduce(each)
    assert rows.grad is not None
    return {"said": said.detach(), "x": rows.grad, **gradients, **dict(norm.named_buffers())}


def foreign(rows: list[Row]) -> str:
    """A method's batch norm that knows nothing of other processes."""
    trainer = trainer_of("lora(rank=2)", PLAIN, rows)
    trainer.model.delta.add_module("own", nn.BatchNorm1d(2).train())
    with pytest.raises(RecipeError) as refused:
        trainer.crew.check(trainer.model)
    return str(refused.value)


def lost(rows: list[Row], spec: str = "lora(rank=2)") -> str:
    """A clip that is not there when the second process wants it."""
    return refusal_of(lambda: trained(spec, PLAIN, [replace(row, audio="none.wav") for row in rows[:2]]))


def alone_and_shared() -> dict[str, Any]:
    """The crew's own words."""
    crew = Crew(accelerator())

    def fails() -> int:
        if crew.index:
            raise CorpusError("the second one's")
        return 1

    return {
        "share": crew.share(range(5)),
        "each": crew.each(lambda: crew.index * 10),
        "once": crew.once(lambda: f"by {crew.index}"),
        "together": crew.together(lambda: crew.index),
        "refused": refusal_of(lambda: crew.each(fails)),
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("processes")


@pytest.fixture(scope="module")
def two(folder: Path) -> list[dict[str, Any]]:
    """What each of two processes found of everything: they are started once."""
    rows = rows_of(WORDS, folder)

    def work() -> dict[str, Any]:
        found: dict[str, Any] = {spec: trained(spec, PLAIN, rows) for spec in METHODS}
        found |= {task: trained("lora(rank=2)", task, rows_of(words, folder)) for task, words in TASKS.items()}
        found |= {"drops": trained('lora(rank=2, dropout=0.3) + child(choose="random")', PLAIN, rows, drops=True)}
        found |= {"again": trained(NORMED, PLAIN, rows, again=True)}
        found |= {"norm": normed((slice(0, 5), slice(5, 8))[int(os.environ["RANK"])])}
        found |= {"norm of torch": foreign(rows), "lost beside a norm": lost(rows, NORMED)}
        return found | {"nan": broken(rows), "lost": lost(rows), "crew": alone_and_shared()}

    return in_two(work, folder / "found")


@pytest.mark.parametrize("spec", METHODS)
def test_every_method(spec: str, two: list[dict[str, Any]], folder: Path) -> None:
    with skipping():
        one = trainer_of(spec, PLAIN, rows_of(WORDS, folder))
    first, second = (each[spec] for each in two)
    found = trained(spec, PLAIN, rows_of(WORDS, folder))
    assert isinstance(found, Trained) and isinstance(first, Trained), first
    same(found, first)
    assert all(torch.equal(first.tensors[name], second.tensors[name]) for name in one.model.tensors())


@pytest.mark.parametrize("task", TASKS)
def test_every_task(task: str, two: list[dict[str, Any]], folder: Path) -> None:
    found = trained("lora(rank=2)", task, rows_of(TASKS[task], folder))
    assert isinstance(found, Trained)
    same(found, two[0][task])
    assert two[0][task].said == two[1][task].said


def test_every_task_is_here() -> None:
    alone = {"synthesize"}  # refuses several processes
    assert {task.partition("(")[0] for task in TASKS} == set(registry.names("tasks")) - alone


def test_statistics_of_a_batch_are_those_of_all_processes(two: list[dict[str, Any]], folder: Path) -> None:
    found = trained(NORMED, PLAIN, rows_of(WORDS, folder), again=True)  # each block is passed twice
    assert isinstance(found, Trained)
    same(found, two[0]["again"])
    whole = normed(slice(None))
    for name in whole.keys() - {"said", "x"}:
        torch.testing.assert_close(whole[name], two[0]["norm"][name])
        torch.testing.assert_close(whole[name], two[1]["norm"][name])
    for name in ("said", "x"):
        torch.testing.assert_close(whole[name], torch.cat([each["norm"][name] for each in two]))


def test_a_batch_norm_that_knows_of_no_other_process_is_refused(two: list[dict[str, Any]]) -> None:
    assert all("'delta.own' normalises" in each["norm of torch"] for each in two)


def test_dropout_is_drawn_by_each_and_the_numbers_stay_the_same(two: list[dict[str, Any]]) -> None:
    first, second = (each["drops"] for each in two)
    assert first.losses == second.losses
    assert all(torch.equal(first.tensors[name], second.tensors[name]) for name in first.tensors)


def test_what_one_refuses_ends_all(two: list[dict[str, Any]]) -> None:
    for each in two:
        assert each["nan"].startswith("NonFiniteError: step 1") and "clips" in each["nan"]
        for name in ("lost", "lost beside a norm"):
            assert each[name].startswith("CorpusError") and "none.wav" in each[name]
        assert each["crew"]["refused"] == "CorpusError: the second one's"


def test_one_that_dies_leaves_nobody_waiting(folder: Path) -> None:
    def work() -> str:
        crew = Crew(accelerator())
        crew.each(lambda: None)
        if crew.index:
            os._exit(9)
        with pytest.raises(RuntimeError) as noticed:
            crew.each(lambda: None)
        return str(noticed.value)

    (told,) = in_two(work, folder / "dead", codes=(0, 9))
    assert told


def test_shares_and_what_is_told(two: list[dict[str, Any]]) -> None:
    first, second = (each["crew"] for each in two)
    assert (first["share"], second["share"]) == ([0, 2, 4], [1, 3])
    assert first["each"] == second["each"] == [0, 10]
    assert first["once"] == second["once"] == "by 0"
    assert (first["together"], second["together"]) == (0, 1)
