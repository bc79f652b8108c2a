"""The methods of one trial: a single one, or several that compete (AD-TUNING, doi:10.21437/Interspeech.2023-1167).

Each entrant is a whole training of its own, with its own numbers, optimiser and random draws, on one shared backbone:
its edits are put on for its turn and taken off after it. They see the same batches from the same head with the same
random draws. At a rung the losers are dropped and freed; the winner goes on where it is and ends as if it had been
trained alone from that head.
"""

import gc
import json
import math
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from pegbox import methods
from pegbox.errors import DeadParameterError, NonFiniteError
from pegbox.recipe import Recipe, Search
from pegbox.surgery import read_tensors
from pegbox.training import checkpoint, probe
from pegbox.training.allowance import Allowance, Time
from pegbox.training.cache import Layout
from pegbox.training.entrant import TABLE, Entrant, Judged, Past, Tried, ranked, same_head, start_of
from pegbox.training.feed import Feed
from pegbox.training.layouts import layout_of, stored
from pegbox.training.loop import Event, Step, Stopped, Trainer, Validated
from pegbox.training.model import Tuned
from pegbox.training.prepare import Choices, Data, by_method, count, frames_of, undecided
from pegbox.training.segments import some
from pegbox.training.session import Session
from pegbox.training.trials import paired, trials_of

STATE: Final = "state.safetensors"
STATES: Final = "candidates"


@dataclass
class Contest:
    """All entrants of a trial; a trial of one method is a contest that it has won."""

    session: Session
    data: Data
    seed: int
    folder: Path
    clock: Time = time.monotonic
    entrants: list[Entrant] = field(default_factory=list)
    head: Mapping[str, Tensor] = field(default_factory=dict)  # that all start with, if it was trained before

    def __post_init__(self) -> None:
        recipe = self.session.recipe
        self.search = recipe.search
        self.alone = not self.search.candidates
        self.allowance = Allowance(60 * self.search.minutes, self.clock, self.session.crew)
        self.batches = 0  # that importance was measured on
        specs = self.search.candidates or (recipe.method,)
        pairs = [(spec, rate) for spec in specs for rate in (self.search.rates if not self.alone else (1.0,))]
        self.past = self._begun([{"method": spec, "rate": rate, "scores": []} for spec, rate in pairs])
        recipes = {spec: replace(recipe, method=spec, search=Search()) for spec in specs}
        self.common = None if self.alone else start_of(recipes[specs[0]], self.session, self.data, self.seed)
        choices = self._choices([recipes[spec] for spec in specs])
        for number in self.past.live:
            spec, rate = pairs[number]
            self.entrants.append(self._entrant(number, recipes[spec], rate, choices.get(str(specs.index(spec)))))

    @property
    def models(self) -> list[Tuned]:
        """The models of those that are still in it."""
        return [each.model for each in self.entrants]

    @property
    def largest(self) -> Entrant:
        """The entrant that trains most."""
        return max(self.entrants, key=lambda each: each.size)

    @property
    def winner(self) -> Entrant:
        """The only one left."""
        (winner,) = self.entrants
        return winner

    @property
    def step(self) -> int:
        """The step from which all go on after an interruption."""
        return min(each.trainer.progress.step if each.trainer else 0 for each in self.entrants)

    def layout(self) -> tuple[Layout | None, int, str]:
        """Returns what to cache for all, its bytes and why; after an interruption what it was, to the last bit."""
        backbone = self.session.backbone
        if not self.past.rung:
            frames = [frames_of(row, backbone) for row in self.data.all]
            found, size, what = layout_of(self.session.recipe, self.models, frames)
            self.past.layout = [found and [found.kind, found.depths], size, what]
        kept, size, what = self.past.layout
        return stored(backbone, kept[0], tuple(kept[1])) if kept else None, size, what

    def start(self, feed: Feed) -> None:
        """Makes each entrant's optimiser, and takes back what an interruption left."""
        trials = trials_of(self.session.recipe, self.session.task)
        for each in self.entrants:
            chosen, train = methods.parse(each.recipe.method), each.recipe.train
            rest = (self.session.accelerator, each.rate, trials, self.allowance.passed)
            each.trainer = Trainer(each.model, feed, chosen, train, self.seed, *rest)
            left = self.session.crew.once(partial(checkpoint.left, self._state(each)))
            if left is not None:
                with self._turn(each) as trainer:
                    checkpoint.take_over(trainer, *left)
            each.events = each.trainer.events(self.data.rows["train"], self.data.rows["valid"])

    def run(self) -> Iterator[Event | Tried | Judged]:
        """Trains all up to each rung, judges them there, and the winner to the end; yields what happens."""
        self.allowance.start(max(self.past.seconds, *(each.seconds for each in self.entrants)))
        while len(self.entrants) > 1:
            share = self.search.rungs[self.past.rung]
            yield from self._race(share)
            yield self._judge(share)
        if not self.alone:
            checkpoint.set_random(self.winner.random)
            self.winner.model.delta.attach()
        for event in self._drive(self.winner):
            yield event
            self.allowance.look()

    def leave(self) -> None:
        """Takes every edit off the network."""
        for each in self.entrants:
            each.model.delta.detach()

    def clear(self) -> None:
        """Removes what only a resume needs."""
        if not self.session.crew.first:
            return
        (self.folder / STATE).unlink(missing_ok=True)
        (self.folder / probe.CHOICE).unlink(missing_ok=True)
        shutil.rmtree(self.folder / STATES, ignore_errors=True)

    def report(self, steps: int) -> dict[str, Any]:
        """Returns what a result tells of the competition: the table, and the cost beside one training."""
        if self.alone:
            return {}
        tried = sum(row.get("steps", steps) for row in self.past.table)
        return {
            "search": {
                "chosen": self.winner.recipe.method,
                "rate": self.winner.rate,
                "observe": self.search.observe,
                "table": self.past.table,
                "batches": self.batches,
                "cost": (tried + self.batches / self.session.recipe.train.accumulate) / steps,
            }
        }

    def _begun(self, table: list[dict[str, Any]]) -> Past:
        path, fresh = self.folder / TABLE, Past(table, list(range(len(table))))
        if self.alone:
            return fresh
        return self.session.crew.once(
            lambda: Past(**json.loads(path.read_text(encoding="utf-8"))) if path.exists() else fresh
        )

    def _entrant(self, number: int, recipe: Recipe, rate: float, choices: Choices | None) -> Entrant:
        model, random = self.session.model(recipe, self.data, self.seed, choices), checkpoint.random_state()
        if self.common:
            model.delta.detach()
            same_head(self.common[0], model)
            random = self.common[1]
        self._headed(model)
        return Entrant(number, recipe, rate, model, random, count(model)["delta"])

    def _choices(self, recipes: Sequence[Recipe]) -> dict[str, dict[str, dict[str, Tensor]]]:
        """Returns what deciding methods choose, by candidate: what was stored, else from the first batches."""
        unions = [methods.parse(each.method) for each in recipes]
        deciding = [any(isinstance(each.method, methods.Deciding) for each in union) for union in unions]
        if not any(deciding):
            return {}
        wanted = {str(i): recipes[i] for i, needed in enumerate(deciding) if needed}
        # One process measures for all, in the order in which it would alone: not even a near tie is decided otherwise.
        tensors, about = self.session.crew.once(lambda: self._chosen(wanted))
        self.batches = int(str(about["batches"]))
        return {candidate: by_method(stored) for candidate, stored in by_method(tensors).items()}

    def _chosen(self, wanted: dict[str, Recipe]) -> tuple[dict[str, Tensor], dict[str, object]]:
        if not (self.folder / probe.CHOICE).exists():
            probe.decide(wanted, self._undecided, self.data, self.seed, self.folder)
        return read_tensors(self.folder / probe.CHOICE)

    def _undecided(self, recipe: Recipe) -> Tuned:
        session = self.session
        torch.manual_seed(self.seed)  # the head that training will start with
        model = undecided(recipe, session.backbone, session.task, self.data.vocabulary).to(session.accelerator.device)
        self._headed(model)
        return model

    def _headed(self, model: Tuned) -> None:
        if self.head:
            model.take_head(self.head)

    def _state(self, entrant: Entrant) -> Path:
        return self.folder / STATE if self.alone else self.folder / STATES / f"{entrant.number}.safetensors"

    @contextmanager
    def _turn(self, entrant: Entrant) -> Iterator[Trainer]:
        if self.alone:
            assert entrant.trainer is not None
            yield entrant.trainer
            return
        with entrant.turn() as trainer:
            yield trainer

    def _race(self, share: float) -> Iterator[Tried]:
        """Takes one step with each in turn until all have come as far."""
        waiting = list(self.entrants)
        while waiting:
            self.allowance.look()
            for each in list(waiting):
                with each.turn():
                    happened = self._one_step(each)
                yield from (Tried(each.number, each.recipe.method, event) for event in happened)
                last = happened[-1] if happened else None
                if each.stopped or each.failed or (isinstance(last, Step) and last.progress >= share):
                    waiting.remove(each)

    def _one_step(self, entrant: Entrant) -> list[Event]:
        """Returns what happens until the next step is done; one that cannot train loses, and the others go on."""
        happened: list[Event] = []
        try:
            for event in self._drive(entrant):
                happened.append(event)
                if isinstance(event, Step):
                    break
        except (DeadParameterError, NonFiniteError) as problem:
            entrant.failed = problem
        return happened

    def _drive(self, entrant: Entrant) -> Iterator[Event]:
        assert entrant.events is not None
        if entrant.stopped:
            yield entrant.stopped
        for event in entrant.events:
            if isinstance(event, Validated):
                self._save(entrant)
            if isinstance(event, Stopped):
                entrant.stopped = event
            yield event

    def _save(self, entrant: Entrant) -> None:
        trainer, path = entrant.trainer, self._state(entrant)
        assert trainer is not None
        trainer.progress.seconds = self.allowance.spent

        def write() -> None:
            path.parent.mkdir(exist_ok=True)
            checkpoint.save(trainer, path)

        self.session.crew.once(write)

    def _judge(self, share: float) -> Judged:
        scores = {each.number: self._score(each) for each in self.entrants}
        last = self.past.rung == len(self.search.rungs) - 1
        keep = 1 if last else math.ceil(len(self.entrants) / 2)
        better = self.session.task.better if self.search.observe == "dev" else "min"
        order = ranked([(scores[each.number], each.size, each.number) for each in self.entrants], better)
        failed = {each.number for each in self.entrants if each.failed}
        kept = [number for number in order[:keep] if number not in failed]
        if not kept:
            raise next(each.failed for each in self.entrants if each.failed)
        for each in self.entrants:
            self.past.note(each, scores[each.number], None if each.number in kept else share)
        self.past.live, self.past.rung, self.past.seconds = sorted(kept), self.past.rung + 1, self.allowance.spent
        self.session.crew.once(lambda: self.past.save(self.folder))
        self._free(kept)
        return Judged(share, scores, tuple(kept))

    def _score(self, entrant: Entrant) -> float:
        if entrant.failed:
            return math.nan
        rows = some(self.data.rows["valid"], self.search.clips, self.seed)
        with entrant.turn() as trainer:
            if self.search.observe == "loss":
                return trainer.progress.smoothed
            if self.search.observe == "dev_loss":
                return trainer.loss(rows)
            task = entrant.model.task
            return task.score(paired(trainer.evaluate(rows), trainer.trials))[task.metric]

    def _free(self, kept: Sequence[int]) -> None:
        for each in self.entrants:
            if each.number not in kept:
                if self.session.crew.first:
                    self._state(each).unlink(missing_ok=True)
                each.trainer = each.events = None
        self.entrants = [each for each in self.entrants if each.number in kept]
        gc.collect()
