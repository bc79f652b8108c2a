"""A finished run's model, put together again from its folder, and what it says of clips."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from pegbox import tasks
from pegbox.backbones import Precision
from pegbox.errors import WeightsError
from pegbox.recipe import Recipe
from pegbox.rows import Row
from pegbox.surgery import read_tensors
from pegbox.tasks import Hears, Prediction
from pegbox.training.beside import Beside
from pegbox.training.crew import default_device
from pegbox.training.feed import Feed, in_order
from pegbox.training.kept import ARTEFACT
from pegbox.training.model import Tuned
from pegbox.training.prepare import assemble, by_method, loader
from pegbox.training.segments import cut, joined


def open_model(folder: Path, recipe: Recipe, backbone: str | None = None, precision: Precision | None = None) -> Tuned:
    """Returns a run's model with its trained tensors; `backbone` says where the checkpoint lies now, if it was moved.

    The frozen network is held in the precision that it was trained in, or in another one.

    Raises:
        WeightsError: when the checkpoint is another one than the run was trained on.
    """
    tensors, about = read_tensors(folder / ARTEFACT)
    known: Any = about["backbone"]
    task = tasks.build(recipe.task)
    network = loader(task)(backbone or _source(known), precision or known["precision"])
    if network.digest != known["digest"]:
        raise WeightsError(
            f"{folder}: trained on a backbone with digest {known['digest']}; "
            f"{network.source} has {network.digest}: it is another network or other weights"
        )
    choices = by_method(tensors)
    model = assemble(recipe, network, task, tuple(about["vocabulary"]), choices)  # type: ignore[arg-type]
    model.take_artefact(tensors)
    model.choose(about.get("chosen", {}))  # type: ignore[arg-type]
    model.beside = about.get("beside", {})  # type: ignore[assignment]
    return model.to(default_device()).eval()


@torch.no_grad()
def predict(model: Tuned, rows: Sequence[Row]) -> list[Prediction]:
    """Returns one plain row a clip, in the order given, of a model that hears.

    Raises:
        WeightsError: a file that the task reads is another one than when the run was scored.
    """
    Beside(model.beside).take_files(model.task)
    feed, found = Feed(model.backbone, None), {}
    assert isinstance(model.task, Hears)  # callers have turned the others away
    device = next(model.head.parameters()).device
    rows = cut(rows, model.task)
    for group in in_order(rows, 32.0, 32):
        batch = feed.batch(group)
        logits = model(replace(batch, x=batch.x.to(device)))
        for row, said in zip(group, model.task.decode(logits, batch.frames, model.vocabulary), strict=True):
            found[row.id] = {"id": row.id, **said}
    return joined(rows, found, model.task)


def _source(known: dict[str, str]) -> str:
    return known["source"] if Path(known["source"]).exists() else known["resolved"]
