"""Deltas in peft's layout: one adapter a module, named by its path."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from torch import Tensor, nn
from torch.nn.utils import parametrize

from pegbox import surgery
from pegbox.backbones import Backbone
from pegbox.delta import Delta
from pegbox.errors import RecipeError
from pegbox.exchange._network import Network, known, paths
from pegbox.methods._low_rank import Decomposed
from pegbox.sites import Edit

CONFIG: Final = "adapter_config.json"
WEIGHTS: Final = "adapter_model.safetensors"
ROOT: Final = "base_model.model."  # what peft puts before the path of every module
Named = Iterator[tuple[str, Tensor]]
_NEVER_CALLED: Final = {"wavlm": ("q", "k", "v", "o")}  # whose weights the library's attention reads by itself


def described(delta: Delta, model: Network, source: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Returns peft's description and tensors of an attached delta; refuses what peft cannot express."""
    kind = _kind(delta)
    edits = [edit for term in delta.terms for edit in term.edits]
    places = _places(edits, model)
    tensors: dict[str, Tensor] = {}
    for edit, place in zip(edits, places, strict=True):
        for key, tensor in _TENSORS[kind](edit):
            name = f"{ROOT}{place}.{key}"
            if name in tensors:
                raise RecipeError(f"peft holds one {kind} a module, and '{place}' has two; export it merged")
            tensors[name] = tensor.detach().float().cpu()
    base = source or (model.source if isinstance(model, Backbone) else getattr(model, "name_or_path", ""))
    common = {"peft_type": kind, "target_modules": sorted(set(places)), "base_model_name_or_path": base or None}
    return common | {"inference_mode": True, "task_type": None} | _SETTINGS[kind](edits, places), tensors


def write(folder: Path, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Writes peft's two files."""
    surgery.save_tensors(folder / WEIGHTS, tensors, {"made": "by Pegbox"})
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def _kind(delta: Delta) -> str:
    forms = {"lora": "LORA", "lora_fa": "LORA", "ia3": "IA3", "layernorm": "LN_TUNING"}
    names = sorted({term.name.partition("-")[0] for term in delta.terms if term.edits})
    if len(names) != 1 or names[0] not in forms:
        raise RecipeError(
            f"peft has no form for {' + '.join(names) or 'a method without edits'}; it has one for a single method "
            f"of {', '.join(forms)}: export it merged where it can be, or keep the delta"
        )
    return forms[names[0]]


def _places(edits: list[Edit], model: Network) -> list[str]:
    """Returns the module path of each edit in a network that peft will load over."""
    family, found = known(model)[0], paths(model)
    lost = [edit.site.name for edit in edits if edit.site and edit.site.role in _NEVER_CALLED.get(family.name, ())]
    if lost:
        raise RecipeError(
            f"in transformers {family.name} never calls the modules at {lost[:4]}, {len(lost)} in all, so that peft's "
            "layers would do nothing there; export it merged"
        )
    if any(edit.site is None or id(edit.site.owner) not in found for edit in edits):
        raise RecipeError("this delta is not attached to this model; give the model that it was attached to")
    return [found[id(edit.site.owner)] for edit in edits if edit.site]


def _lora(edit: Edit) -> Named:
    module: Any = edit.module
    if edit.site is None or not isinstance(edit.site.owner, nn.Linear):
        raise RecipeError(f"lora: '{edit.site and edit.site.name}' is a convolution; peft's folder holds linear maps")
    yield "lora_A.weight", module.down
    yield "lora_B.weight", module.up
    if isinstance(module, Decomposed):
        yield "lora_magnitude_vector", module.magnitude


def _ia3(edit: Edit) -> Named:
    factors = getattr(edit.module, "factors", None)
    if isinstance(factors, Tensor):
        yield "ia3_l", factors[None] if edit.verb == "on" else factors[:, None]


def _norm(edit: Edit) -> Named:
    owner: Any = edit.site and edit.site.owner
    if not parametrize.is_parametrized(owner, edit.tensor):
        raise RecipeError("this delta was taken off its network; attach it again, since peft stores whole norms")
    yield f"ln_tuning_layers.{edit.tensor}", getattr(owner, edit.tensor)


def _lora_settings(edits: list[Edit], _: list[str]) -> dict[str, Any]:
    modules: list[Any] = [edit.module for edit in edits]
    forms = {(len(each.down), float(each.scale), isinstance(each, Decomposed)) for each in modules}
    if len(forms) > 1:
        raise RecipeError(f"peft's folder holds one rank, scale and kind, here are {sorted(forms)}; export it merged")
    rank, scale, dora = forms.pop()  # rank stabilisation is a scale like any other
    return {"r": rank, "lora_alpha": scale * rank, "lora_dropout": 0.0, "use_dora": dora, "bias": "none"}


def _ia3_settings(edits: list[Edit], places: list[str]) -> dict[str, Any]:
    inner = {place for edit, place in zip(edits, places, strict=True) if edit.verb == "on"}
    return {"feedforward_modules": sorted(inner)}


def _norm_settings(edits: list[Edit], places: list[str]) -> dict[str, Any]:
    return {}


_TENSORS: Final[Mapping[str, Callable[[Edit], Named]]] = {"LORA": _lora, "IA3": _ia3, "LN_TUNING": _norm}
_SETTINGS: Final[Mapping[str, Callable[[list[Edit], list[str]], dict[str, Any]]]] = {
    "LORA": _lora_settings,
    "IA3": _ia3_settings,
    "LN_TUNING": _norm_settings,
}
