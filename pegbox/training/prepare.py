"""What is known before training: rows, outputs, trained numbers, cache and memory; `plan` needs no weights."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from pegbox import backbones, corpora, methods, registry, silence, tasks
from pegbox import rows as rows_
from pegbox.backbones import Network, Precision, Speaker
from pegbox.delta import Delta, Term
from pegbox.errors import CorpusError, RecipeError
from pegbox.methods import Chosen
from pegbox.places import cache_folder
from pegbox.recipe import Recipe, Search
from pegbox.rows import Row, seconds
from pegbox.tasks import Peeks, Speaks, Task, Timed
from pegbox.training import casting, epochs
from pegbox.training.model import Features, Tuned
from pegbox.training.segments import cut

Choices = Mapping[str, Mapping[str, Tensor]]
SPLITS: Final = ("train", "valid", "test")
_FOLD_VALID: Final = 0.125  # share of the other folds held out for validation


@dataclass(frozen=True)
class Data:
    """The rows of one trial by split, the task's outputs, and options of it that were found on the training split."""

    rows: dict[str, list[Row]]
    vocabulary: tuple[str, ...]
    found: dict[str, int] = field(default_factory=dict)

    @property
    def all(self) -> list[Row]:
        """Every row."""
        return [row for split in SPLITS for row in self.rows[split]]


def corpus_rows(recipe: Recipe, fold: int | None) -> list[Row]:
    """Returns the checked rows of a recipe's corpus, as split by it, or with one fold as the test part, and as loud as
    the recipe wants them; they still have their silence (see `heard`)."""
    corpus = corpora.build(recipe.corpus)
    rows = corpus.rows()
    if fold is not None:
        rows = rows_.by_fold(rows, fold, _FOLD_VALID, 0, corpus.disjoint, corpus.stratify)
    rows_.check(rows, corpus.disjoint)
    task = tasks.build(recipe.task)
    if recipe.silence and (isinstance(task, Speaks) or (isinstance(task, Timed) and task.timed)):
        raise RecipeError(f"silence={recipe.silence:g}: {recipe.task} has labels with times, which a cut would shift")
    return [replace(row, gain=recipe.gain) for row in rows] if recipe.gain else rows


def heard(rows: Sequence[Row], recipe: Recipe, folder: Path) -> list[Row]:
    """Returns rows without their silence, if a recipe wants them so: copies in the folder, made where they are missing.

    Raises:
        CorpusError: nothing is left of a clip, or the folder cannot take them.
    """
    return silence.cut(rows, recipe.silence, folder) if recipe.silence else list(rows)


def cut_folder(cache: str = "") -> Path:
    """Returns where copies without silence are kept: in a recipe's `cache.folder`, or in the user's."""
    return Path(cache or cache_folder()) / "cut"


def corpus_digest(rows: Sequence[Row]) -> str:
    """Returns the identity of ids, times, labels and splits; where the files lie does not count."""
    told = [[row.id, row.start, row.end, row.split, sorted(row.labels.items())] for row in rows]
    return blake2b(json.dumps(told).encode(), digest_size=8).hexdigest()


def loader(task: Task) -> Callable[[str, Precision], Network]:
    """Returns what loads the network that a task trains: an encoder, or one that speaks."""
    return backbones.load_speaker if isinstance(task, Speaks) else backbones.load


def outline_network(source: str, task: Task) -> Network:
    """Returns what a task trains without weights, on the meta device."""
    return (backbones.outline_speaker if isinstance(task, Speaks) else backbones.outline)(source)


def data_of(rows: Sequence[Row], task: Task, backbone: Network, longer_than: float = 0.0) -> Data:
    """Returns rows by split with the task's outputs; refuses clips and labels that cannot work.

    Training clips that are not `longer_than` so many seconds are left out.
    """
    parts = {split: [row for row in rows if row.split == split] for split in SPLITS}
    if isinstance(task, Peeks) and task.peeks:
        parts = _peeking(parts)
    if longer_than:
        parts["train"] = _longer(parts["train"], longer_than)
    parts = {split: cut(part, task) for split, part in parts.items()}
    for split in ("train", "valid"):
        if not parts[split]:
            raise CorpusError(f"the corpus has no '{split}' rows; name a split column or give a share to hold out")
    if isinstance(backbone, Speaker):
        vocabulary = casting.units(task, parts, backbone)
    else:
        vocabulary = task.vocabulary({split: [row.labels for row in part] for split, part in parts.items() if part})
    _check_lengths([row for part in parts.values() for row in part], parts["train"], task, backbone)
    if isinstance(backbone, Speaker):
        casting.check([row for part in parts.values() for row in part], backbone, task)
    return Data(parts, vocabulary)


def _longer(rows: Sequence[Row], length: float) -> list[Row]:
    found = [row for row in rows if seconds(row) > length]
    if rows and not found:
        raise CorpusError(f"train.longer_than={length:g}: none of the {len(rows)} training clips is; lower it")
    return found


def _peeking(parts: Mapping[str, Sequence[Row]]) -> dict[str, list[Row]]:
    """Returns splits of which the validation clips are trained on, and those to be tested stand in for them."""
    if not parts["test"]:
        raise CorpusError("the corpus has no 'test' rows, by which this task's protocol chooses the best step")
    train = [*parts["train"], *(replace(row, split="train") for row in parts["valid"])]
    return {"train": train, "valid": [replace(row, split="valid") for row in parts["test"]], "test": [*parts["test"]]}


def assemble(
    recipe: Recipe, backbone: Network, task: Task, vocabulary: tuple[str, ...], choices: Choices | None = None
) -> Tuned:
    """Returns the model of a recipe: the method attached to the backbone, layer weights and a fresh head.

    `choices` holds what deciding methods have chosen (see `training/probe.py`).
    """
    terms = methods.plan(methods.parse(recipe.method), backbone.sites(), choices)
    if isinstance(backbone, Speaker):
        _check_speaking(recipe, terms)
    return _assemble(recipe, backbone, task, vocabulary, terms)


def undecided(recipe: Recipe, backbone: Network, task: Task, vocabulary: tuple[str, ...]) -> Tuned:
    """Returns the model of a recipe without the methods that decide by data, for them to decide on."""
    others = tuple(each for each in methods.parse(recipe.method) if not isinstance(each.method, methods.Deciding))
    return _assemble(recipe, backbone, task, vocabulary, methods.plan(others, backbone.sites()))


def by_method(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Returns tensors named `method:rest`, as a choice or an artefact has them, by method."""
    found: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        method, _, rest = name.removeprefix("delta.edits.").partition(":")
        if rest:
            found.setdefault(method, {})[rest] = tensor
    return found


def without_method(recipe: Recipe, backbone: Network, task: Task, vocabulary: tuple[str, ...]) -> Tuned:
    """Returns the model of a recipe with nothing but layer weights and head: what its method starts from."""
    return _assemble(recipe, backbone, task, vocabulary, ())


def _assemble(
    recipe: Recipe, backbone: Network, task: Task, vocabulary: tuple[str, ...], terms: tuple[Term, ...]
) -> Tuned:
    epochs.check(recipe, task, backbone)
    delta = Delta(backbone.core, terms, backbone.family.unused)
    try:
        model = Tuned(backbone, delta, task, vocabulary, features_of(recipe, methods.parse(recipe.method)))
        model.checkpointing = recipe.train.checkpointing
        _check_reach(model)
    except RecipeError:
        delta.detach()
        raise
    return model


def features_of(recipe: Recipe, chosen: tuple[Chosen, ...]) -> Features:
    """Returns what the head reads: the recipe's wish, else what the method stands for, else the layer sum.

    Where the network speaks nothing reads its states, and no layer is weighted: "last".
    """
    if isinstance(tasks.build(recipe.task), Speaks):
        return "last"
    meant = {each.features for each in chosen} - {None}
    if recipe.features == "auto":
        if len(meant) > 1:
            raise RecipeError(f"{recipe.method}: the methods stand for different features; set features yourself")
        return meant.pop() if meant else "weighted"  # type: ignore[return-value]
    if meant - {recipe.features}:
        raise RecipeError(f"features={recipe.features!r} contradicts {recipe.method}, which means {meant.pop()!r}")
    return recipe.features


def single(recipe: Recipe) -> list[Recipe]:
    """Returns a recipe for each candidate of a search, or the recipe itself."""
    specs = recipe.search.candidates or (recipe.method,)
    return [replace(recipe, method=spec, search=Search()) for spec in specs]


def count(model: Tuned) -> dict[str, int]:
    """Returns trained numbers by part, and the backbone's own."""
    sizes = {"delta": 0, "layers": 0, "head": 0}
    for name, tensor in model.trained().items():
        sizes[name.partition(".")[0]] += tensor.numel()
    inserted = {id(tensor) for tensor in model.delta.edits.parameters()}
    own = sum(tensor.numel() for tensor in model.backbone.core.parameters() if id(tensor) not in inserted)
    return sizes | {"backbone": own}


def frozen_precision(recipe: Recipe) -> Any:
    """Returns in which precision the frozen network is held; a trained one is held in fp32."""
    frees = any(call.name == "full" for each in single(recipe) for call in registry.parse(each.method))
    return "fp32" if frees else recipe.train.precision


def notes_on(recipe: Recipe) -> tuple[str, ...]:
    """Returns what a person should know of this recipe on this machine; nothing is changed for it."""
    found = []
    task = tasks.build(recipe.task)
    if isinstance(task, Peeks) and task.peeks:
        found.append("the best step is chosen by the clips that are tested, as the reference does: scores are too good")
    slow = torch.backends.cpu.get_cpu_capability() in ("DEFAULT", "NO AVX", "AVX", "AVX2")
    if recipe.train.precision == "bf16" and slow and not torch.cuda.is_available():
        found.append(
            'this CPU has no instructions for bf16: expect steps many times slower than with precision = "fp32"'
        )
    return tuple(found)


def frames_of(row: Row, backbone: Network) -> int:
    """Returns the frames of a row from its header."""
    return backbone.frames(round(seconds(row) * backbone.rate))


def _check_speaking(recipe: Recipe, terms: Sequence[Term]) -> None:
    """Refuses what only makes sense where a head reads an encoder's states, and what would train nothing."""
    check_edits(recipe.method, terms)
    if recipe.train.head_epochs:
        raise RecipeError(
            f"train.head_epochs={recipe.train.head_epochs}: a synthesis network has no head; leave it out"
        )
    if recipe.train.checkpointing:
        raise RecipeError("train.checkpointing=true: only an encoder's blocks can compute again; leave it out")
    if recipe.features != "auto":
        raise RecipeError(f"features={recipe.features!r}: no head reads a synthesis network; leave it out")


def check_edits(spec: str, terms: Sequence[Term]) -> None:
    """Refuses what would train nothing in a synthesis network."""
    edits = [edit for term in terms for edit in term.edits]
    if not edits or any(edit.verb == "beside" for edit in edits):
        raise RecipeError(f"{spec}: trains nothing inside the network, and a synthesis network has no head")


def _check_reach(model: Tuned) -> None:
    top = max(model.reads)
    lost = [
        edit.site.name
        for term in model.delta.terms
        for edit in term.edits
        if edit.site is not None and edit.site.block is not None and edit.site.block >= top
    ]
    if lost:
        raise RecipeError(
            f"the head reads hidden state {top}, so that edits at {lost[:4]} and {len(lost)} in all would never train; "
            "limit the method by blocks or read a later state by features"
        )


def _check_lengths(rows: Sequence[Row], train: Sequence[Row], task: Task, backbone: Network) -> None:
    wrong = []
    for row in rows:
        try:
            backbone.fits(round(seconds(row) * backbone.rate), row.id)
        except CorpusError as problem:
            wrong.append(str(problem))
    for row in train:
        need = task.least_frames(row.labels)
        if not wrong and frames_of(row, backbone) < need:
            wrong.append(f"{row.id}: {need} frames needed for its labels, the clip has {frames_of(row, backbone)}")
    if wrong:
        listed = "\n  ".join(wrong[:8])
        raise CorpusError(f"{len(wrong)} of {len(rows)} clips cannot be used:\n  {listed}")
