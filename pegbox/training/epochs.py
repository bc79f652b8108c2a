"""What one epoch hears of the training clips: drawn, cut, mixed and masked, by rows, settings, seed and epoch alone."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

import numpy as np

from pegbox.backbones import Network
from pegbox.errors import RecipeError
from pegbox.recipe import Recipe, Train
from pegbox.rows import Row
from pegbox.tasks import Sorts, Task
from pegbox.training import masking, mixing
from pegbox.training.segments import cropped

_DRAWS: Final = 2  # sets these draws apart from the others of an epoch


def drawn(rows: Sequence[Row], task: Task, train: Train, seed: int, epoch: int) -> list[Row]:
    """Returns as many rows as there are, evenly over classes if the recipe asks, and of long ones a part."""
    chosen = balanced(rows, task, seed, epoch) if train.balanced else rows
    return cropped(chosen, train.crop, seed, epoch)


def heard(rows: Sequence[Row], task: Task, network: Network, train: Train, seed: int, epoch: int) -> list[Row]:
    """Returns the rows as they are heard: those drawn, mixed with any of all rows, parts of them masked."""
    chosen = drawn(rows, task, train, seed, epoch)
    partners = cropped(rows, train.crop, seed, epoch) if train.balanced else chosen
    mixed = mixing.mixed(chosen, partners, train.mixup, seed, epoch)
    return masking.masked(mixed, train, network, seed, epoch)


def balanced(rows: Sequence[Row], task: Task, seed: int, epoch: int) -> list[Row]:
    """Returns as many rows, drawn with replacement; a row's weight is the sum of 1 / clips over its classes."""
    assert isinstance(task, Sorts)  # `check` has refused the others
    classes = [task.classes(row.labels) for row in rows]
    clips = Counter(name for names in classes for name in names)
    weights = np.array([sum(1 / clips[name] for name in sorted(names)) for names in classes])
    draw = np.random.default_rng([abs(seed), epoch, _DRAWS])
    return [rows[number] for number in draw.choice(len(rows), len(rows), p=weights / weights.sum()).tolist()]


def check(recipe: Recipe, task: Task, network: Network) -> None:
    """Refuses what a task or a network cannot hear so."""
    train = recipe.train
    if train.crop and task.framewise:
        raise RecipeError(f"train.crop={train.crop}: the labels of {recipe.task} belong to whole clips; leave it 0")
    if train.balanced and not isinstance(task, Sorts):
        raise RecipeError(f"train.balanced=true: {recipe.task} has no classes to draw clips evenly over; leave it out")
    mixing.check(task, train.mixup, recipe.task)
    masking.check(train, network)


def changing(train: Train) -> str:
    """Returns what about clips is another in each epoch, so that nothing of them can be kept; '' for nothing."""
    if train.crop:
        return "train.crop hears another part of a clip each epoch"
    if train.mixup:
        return "train.mixup hears other sums of clips each epoch"
    if train.mask_bands or train.mask_frames:
        return "train.mask_bands and train.mask_frames hide other parts of a clip each epoch"
    return ""
