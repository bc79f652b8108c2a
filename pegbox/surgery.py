"""Attaching methods to networks: the one place that combines a backbone's sites with a method's plan."""

import json
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from pegbox import backbones, methods
from pegbox.delta import Delta, Term
from pegbox.entries import Entries, apart, together
from pegbox.errors import PegboxError, RecipeError, WeightsError


def attach(model: nn.Module, method: str) -> Delta:
    """Attaches a method such as `"lora(rank=8) + bitfit"` to a network and freezes the rest of that network.

    `model` is a `pegbox.load_backbone` or any `transformers` model with a network of a known family inside, including
    its ForCTC and ForSequenceClassification classes and networks that make speech of text; a head or a vocoder beside
    the network stays as trainable as it was. Returns
    the `Delta`: give `delta.parameters()` and the head's to your optimiser, and call `delta.detach()` to get the model
    back bit for bit, or `delta.merge()` to keep the effect in its weights.
    """
    chosen = methods.parse(method)
    if isinstance(model, backbones.Backbone):
        terms = _inside(methods.plan(chosen, model.sites()))
        return Delta(model.core, terms, model.family.unused)
    family, core = backbones.locate(model, backbones.tables())
    terms = _inside(methods.plan(chosen, backbones.find_sites(family, core, None)))
    return Delta(core, terms, family.unused, ready=family.ready)


def _inside(terms: tuple[Term, ...]) -> tuple[Term, ...]:
    for term in terms:
        if any(
            isinstance(edit.module, Entries) and (edit.module.parent or edit.module.keep < 1) for edit in term.edits
        ):
            raise RecipeError(
                f'{term.name}: a random choice and clip="parent" act at each update, which only Pegbox\'s own training '
                "does; use it in a recipe, with pegbox.train"
            )
        if any(edit.verb == "beside" for edit in term.edits):
            raise RecipeError(
                f"{term.name} stands between the network and a head, and here is no head of Pegbox's: it would never "
                "train; use it in a recipe, with pegbox.train"
            )
    return terms


def save_tensors(path: str | Path, tensors: Mapping[str, Tensor], about: Mapping[str, object]) -> None:
    """Writes tensors and a description whole or not at all; never pickle."""
    path = Path(path)
    part = path.with_name(path.name + ".part")
    joined, table = together(tensors)
    told = {"pegbox": json.dumps(about)} | ({"children": json.dumps(table, separators=(",", ":"))} if table else {})
    try:
        save_file({name: tensor.contiguous() for name, tensor in joined.items()}, part, told)
        part.replace(path)
    except (OSError, SafetensorError) as problem:
        part.unlink(missing_ok=True)
        raise PegboxError(f"{path}: cannot be written ({problem}); make room or choose another folder") from problem


def put(path: Path, text: str) -> None:
    """Writes a text file whole or not at all."""
    part = path.with_name(path.name + ".part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError as problem:
        part.unlink(missing_ok=True)
        raise PegboxError(f"{path}: cannot be written ({problem.strerror}); make room, then go on") from problem


def read_tensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, object]]:
    """Returns the tensors and the description of a file written by `save_tensors`."""
    try:
        with safe_open(path, framework="pt") as file:
            told = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, not a dict
            return apart(tensors, json.loads(told.get("children", "[]"))), json.loads(told["pegbox"])
    except (OSError, SafetensorError, KeyError, ValueError, RuntimeError) as problem:
        raise WeightsError(
            f"{path}: no readable Pegbox tensors here ({problem}); was the writing interrupted?"
        ) from None


def save(delta: Delta, path: str | Path) -> None:
    """Writes a delta made by `attach` to a safetensors file."""
    save_tensors(path, delta.short(delta.tensors()), {"terms": [term.name for term in delta.terms]})


def load(delta: Delta, path: str | Path) -> Delta:
    """Fills a freshly attached delta from a file written by `save`; names and shapes must fit exactly."""
    return delta.load_tensors(delta.whole(read_tensors(path)[0]))
