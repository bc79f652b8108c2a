"""Folders of peft, taken over as a method here and its numbers."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from pegbox import surgery
from pegbox.errors import RecipeError, WeightsError
from pegbox.exchange._network import Network, known
from pegbox.exchange._peft_out import CONFIG, ROOT, WEIGHTS
from pegbox.methods.layernorm import NORMS
from pegbox.registry import Call
from pegbox.sites import Edit, Site

_MARKS: Final = {"LORA": ".lora_", "IA3": ".ia3_", "LN_TUNING": ".ln_tuning_layers."}
_STARTS: Final = (True, False, "gaussian", "orthogonal")  # those that leave the network's own weights alone
_HARMLESS: Final = frozenset(  # settings that say nothing about what the stored tensors do, or are read below
    {
        *("auto_mapping", "base_model_name_or_path", "inference_mode", "peft_type", "peft_version", "revision"),
        *("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "task_type", "megatron_core"),
        *("r", "lora_alpha", "lora_dropout", "use_rslora", "use_dora", "qalora_group_size", "ensure_weight_tying"),
        *("feedforward_modules", "init_lora_weights", "init_ia3_weights", "ephemeral_gpu_offload", "runtime_config"),
    }
)
Stored = Mapping[str, Mapping[str, Tensor]]  # module path → key → tensor


@dataclass(frozen=True)
class Imported:
    """What a folder of peft's means here: `pegbox.attach(model, method).load_tensors(tensors)`."""

    method: str
    tensors: dict[str, Tensor]


def import_peft(folder: str | Path, model: Network) -> Imported:
    """Reads a folder that peft saved as a method on this network, which is left as it was.

    Raises:
        RecipeError: for what no method here expresses, by name.
        WeightsError: for files that cannot be read, or tensors that do not fit the network.
    """
    config, stored = _read(Path(folder))
    sites = _matched(stored, model, config["peft_type"])
    method = _spec(config, sites.values(), known(model)[2].depth)
    at = {id(site.owner): path for path, site in sites.items()}
    delta = surgery.attach(model, method)
    try:
        for term in delta.terms:
            for edit in term.edits:
                path = at[id(edit.site and edit.site.owner)]
                _fill(edit, stored[path], path)
        return Imported(method, delta.tensors())
    finally:
        delta.detach()


def _read(folder: Path) -> tuple[dict[str, Any], Stored]:
    try:
        config: dict[str, Any] = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        tensors = load_file(folder / WEIGHTS)
    except (OSError, ValueError, SafetensorError) as problem:
        raise WeightsError(f"{folder}: no readable {CONFIG} and {WEIGHTS} of peft here ({problem})") from None
    _check(config, folder)
    mark, found = _MARKS[config["peft_type"]], dict[str, dict[str, Tensor]]()
    for name, tensor in tensors.items():
        path, middle, key = name.removeprefix(ROOT).partition(mark)
        if not middle:
            raise RecipeError(f"{folder}: '{name}' is no tensor of {config['peft_type']}; no method here holds it")
        found.setdefault(path, {})[key] = tensor
    return config, found


def _check(config: Mapping[str, Any], folder: Path) -> None:
    kind, start = config.get("peft_type"), config.get("init_lora_weights", True)
    if kind not in _MARKS:
        raise RecipeError(f"{folder}: peft's type {kind}; what can be taken over is {', '.join(_MARKS)}")
    odd = {key: value for key, value in config.items() if key not in _HARMLESS and value and value != "none"}
    odd |= {} if start in _STARTS else {"init_lora_weights": start}
    if odd:
        told = ", ".join(f"{key}={value!r}" for key, value in odd.items())
        raise RecipeError(f"{folder}: no method here means {told}; merge it with peft and tune the merged network")


def _matched(stored: Stored, model: Network, kind: str) -> dict[str, Site]:
    """Returns the site of each stored path; all must lie behind one prefix, and none in a decoder."""
    family, core, sites = known(model)
    names = {id(module): name for name, module in core.named_modules()}
    norms = kind == "LN_TUNING"
    right: Any = NORMS if norms else (nn.Linear,)
    own = {names[id(s.owner)]: s for s in sites.table if s.block is not None and isinstance(s.owner, right)}
    own |= {names[id(s.owner)]: s for s, _ in sites.held if norms and s.home is None and isinstance(s.owner, right)}
    found: dict[str, Site] = {}
    prefixes: set[str] = set()
    for path in stored:
        tail = max((name for name in own if f".{path}".endswith(f".{name}")), key=len, default=None)
        if tail is None:
            raise RecipeError(f"peft has tuned '{path}', which is no site for this in the blocks of {family.name}")
        found[path] = own[tail]
        prefixes.add(path.removesuffix(tail))
    outer = {name for name, site in own.items() if site.home is None}
    left = outer - {names[id(site.owner)] for site in found.values()}
    if left and left != outer:
        raise RecipeError(
            f"peft has tuned norms outside the blocks, but not {len(left)} of them, such as '{min(left)}'; "
            "layernorm takes all or none"
        )
    if len(prefixes) != 1 or any("decoder" in prefix for prefix in prefixes):
        raise RecipeError(f"peft has tuned modules behind {sorted(prefixes)}; here is one encoder and no decoder")
    return found


def _spec(config: Mapping[str, Any], sites: Collection[Site], depth: int) -> str:
    """Returns the method as a spec: one term for each set of blocks in which the same roles are tuned."""
    blocks: dict[str, set[int]] = {}
    for site in sites:
        if site.home is not None and site.block is not None:
            blocks.setdefault(site.role, set()).add(site.block)
    groups: dict[tuple[int, ...], list[str]] = {}
    for role, found in blocks.items():
        groups.setdefault(tuple(sorted(found)), []).append(role)
    name, options = _options(config)
    terms = ["layernorm(at=[], outside=True)"] if any(site.home is None for site in sites) else []
    for numbers, roles in groups.items():
        given = {**options, "at": roles}
        if len(numbers) < depth:
            given["blocks"] = ",".join(map(str, numbers))
        terms.append(str(Call(name, tuple(given.items()))))
    return " + ".join(terms)


def _options(config: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    if config["peft_type"] != "LORA":
        return {"IA3": "ia3", "LN_TUNING": "layernorm"}[config["peft_type"]], {}
    options: dict[str, Any] = {"rank": config["r"], "alpha": float(config["lora_alpha"])}
    options |= {"rslora": True} if config.get("use_rslora") else {}
    if config.get("use_dora"):  # trained with dropout or without, the tensors mean the same
        return "lora", options | {"dora": True}
    return "lora", options | ({"dropout": config["lora_dropout"]} if config.get("lora_dropout") else {})


@torch.no_grad()
def _fill(edit: Edit, stored: Mapping[str, Tensor], path: str) -> None:
    """Copies one module's stored tensors into the edit that stands for it."""
    module: Any = edit.module
    if edit.tensor and hasattr(module, "difference"):
        own: Any = getattr(edit.site and edit.site.owner, edit.tensor)
        _copy(module.difference, _one(stored, path, edit.tensor) - own.cpu().float(), path)
    elif hasattr(module, "factors"):
        factors = _one(stored, path, "l")
        if factors.shape[0 if edit.verb == "on" else -1] != 1:
            raise RecipeError(f"peft scales '{path}' on its other side; ia3 scales the input of 'down', else outputs")
        _copy(module.factors, factors.flatten(), path)
    else:
        _copy(module.down, _one(stored, path, "A.weight"), path)
        _copy(module.up, _one(stored, path, "B.weight"), path)
        if hasattr(module, "magnitude"):
            _copy(module.magnitude, _one(stored, path, "magnitude_vector").flatten(), path)


def _one(stored: Mapping[str, Tensor], path: str, key: str) -> Tensor:
    tensor = stored.get(key, stored.get(f"{key}.weight"))
    if tensor is None:
        raise WeightsError(f"'{path}' has no tensor '{key}'; it holds {sorted(stored)}")
    return tensor.float()


def _copy(into: Tensor, tensor: Tensor, path: str) -> None:
    if into.shape != tensor.shape:
        raise WeightsError(f"'{path}': stored {tuple(tensor.shape)}, wanted {tuple(into.shape)}: another network")
    into.copy_(tensor)
