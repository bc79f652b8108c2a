"""AdamW with own rates for head, layer weights and each method, and the course of the rates over training."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from pegbox.errors import RecipeError
from pegbox.methods import Chosen
from pegbox.recipe import Train
from pegbox.training.model import Tuned


def make_optimizer(model: Tuned, methods: tuple[Chosen, ...], train: Train) -> torch.optim.AdamW:
    """Returns the optimiser over exactly the trained tensors; weight decay acts on matrices of head and delta."""
    rates = {each.name: train.delta_lr or each.learning_rate for each in methods}
    freeing = next((term.name for term in model.delta.terms if any(edit.verb == "free" for edit in term.edits)), "")
    groups = [_group(name, tensor, rates, freeing, train) for name, tensor in model.trained().items()]
    named = {group["name"]: group for group in groups}
    for name, multiple in multiples(model.delta).items():
        group = named[f"delta.{name}"]
        group["lr"] = group["peak"] = multiple * group["peak"]
    return torch.optim.AdamW(groups, lr=train.head_lr, fused=True)


def multiples(delta: nn.Module) -> dict[str, float]:
    """Returns trained tensors whose rate is a multiple of their method's: those that a module names in `rates`."""
    told = {
        f"{place}.{name}": multiple
        for place, module in delta.named_modules()
        for name, multiple in getattr(module, "rates", {}).items()
    }
    unknown = told.keys() - dict(delta.named_parameters()).keys()
    if unknown:
        raise RecipeError(f"a method sets the rate of '{min(unknown)}', which is no trained tensor of its own")
    return told


def factor(progress: float, train: Train) -> float:
    """Returns the share of the peak rate after a share `progress` (0 to 1) of training."""
    if progress < train.warmup:
        return progress / train.warmup
    if train.schedule == "constant":
        return 1.0
    left = (1.0 - progress) / max(1.0 - train.warmup, 1e-9)
    return max(0.0, left if train.schedule == "linear" else 0.5 * (1.0 - math.cos(math.pi * left)))


def set_rates(optimizer: torch.optim.Optimizer, share: float) -> None:
    """Sets every group's rate to a share of its peak."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * share


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Returns the optimiser's state as named tensors, without pickle."""
    return {
        f"{group['name']}|{key}": value.detach().cpu()
        for group in optimizer.param_groups
        for key, value in optimizer.state.get(group["params"][0], {}).items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Takes the state back."""
    for group in optimizer.param_groups:
        parameter = group["params"][0]
        own = {name.partition("|")[2]: t for name, t in tensors.items() if name.partition("|")[0] == group["name"]}
        optimizer.state[parameter] = {key: value.to(parameter.device, copy=True) for key, value in own.items()}


def _group(name: str, tensor: nn.Parameter, rates: Mapping[str, float], freeing: str, train: Train) -> dict[str, Any]:
    part, _, rest = name.partition(".")
    if part == "delta":
        kind, _, key = rest.partition(".")
        peak = rates[freeing if kind == "freed" else key.partition(":")[0]]
    else:
        peak = train.layers_lr if part == "layers" else train.head_lr
    decay = train.weight_decay if tensor.ndim > 1 and part != "layers" else 0.0
    return {"params": [tensor], "name": name, "lr": peak, "peak": peak, "weight_decay": decay}
