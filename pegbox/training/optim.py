"""Adam and AdamW with own rates for head, layer weights and each method, and the course of the rates over training."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from pegbox.errors import RecipeError
from pegbox.methods import Chosen
from pegbox.recipe import Train
from pegbox.training.model import Tuned


class ChildNetAdamW(torch.optim.Optimizer):
    """The optimiser of the Child-Tuning code (arXiv:2109.05687), an older AdamW, for comparisons with it.

    Its eps is added to the root of the uncorrected second moment, its decay follows the update.
    """

    def __init__(self, groups: Any, lr: float, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-7) -> None:
        super().__init__(groups, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Updates every tensor that has a gradient."""
        for group in self.param_groups:
            for tensor in group["params"]:
                if tensor.grad is not None:
                    self._update(tensor, group)

    def _update(self, tensor: Tensor, group: dict[str, Any]) -> None:
        state = self.state[tensor]
        if not state:
            state |= {"step": torch.zeros(()), "exp_avg": torch.zeros_like(tensor)}
            state["exp_avg_sq"] = torch.zeros_like(tensor)
        state["step"] += 1
        (first, second), count = group["betas"], float(state["step"])
        state["exp_avg"].mul_(first).add_(tensor.grad, alpha=1 - first)
        state["exp_avg_sq"].mul_(second).addcmul_(tensor.grad, tensor.grad, value=1 - second)
        spread = state["exp_avg_sq"].sqrt().add_(group["eps"])
        size = group["lr"] * math.sqrt(1 - second**count) / (1 - first**count)
        tensor.addcdiv_(state["exp_avg"], spread, value=-size)
        if group["weight_decay"] > 0:
            tensor.add_(tensor, alpha=-group["lr"] * group["weight_decay"])


def make_optimizer(model: Tuned, methods: tuple[Chosen, ...], train: Train, rate: float = 1.0) -> torch.optim.Optimizer:
    """Returns the optimiser over exactly the trained tensors; weight decay acts on matrices of head and delta.

    `rate` and `train.rate` multiply the rates of the methods; those of head and layer weights where no method trains.
    """
    multiple = rate * train.rate
    rates = {each.name: multiple * (train.delta_lr or each.learning_rate) for each in methods}
    if not any(True for _ in model.delta.parameters()):
        train = replace(train, head_lr=multiple * train.head_lr, layers_lr=multiple * train.layers_lr)
    freeing = next((term.name for term in model.delta.terms if any(edit.verb == "free" for edit in term.edits)), "")
    matrices = {id(each.values) for each in model.delta.entries() if each.matrix}
    groups = [_group(name, tensor, rates, freeing, train, matrices) for name, tensor in model.trained().items()]
    named = {group["name"]: group for group in groups}
    for name, own in multiples(model.delta).items():
        group = named[f"delta.{name}"]
        group["lr"] = group["peak"] = own * group["peak"]
    betas = (train.betas[0], train.betas[1])
    if train.optimizer == "childnet_adamw":
        return ChildNetAdamW(groups, train.head_lr, betas, train.eps or 1e-7)
    kind = torch.optim.Adam if train.optimizer == "adam" else torch.optim.AdamW
    return kind(groups, lr=train.head_lr, betas=betas, eps=train.eps or 1e-8, fused=True)


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


def factor(progress: float, train: Train, epoch: int = 0) -> float:
    """Returns the share of the peak rate after a share `progress` (0 to 1) of training, in an epoch counted from 0."""
    dropped = train.decay ** sum(epoch >= milestone for milestone in train.milestones)
    if progress < train.warmup:
        return dropped * progress / train.warmup
    if train.schedule == "constant" or progress <= train.warmup + train.hold:
        return dropped
    left = (1.0 - progress) / max(1.0 - train.warmup - train.hold, 1e-9)
    return dropped * max(0.0, left if train.schedule == "linear" else 0.5 * (1.0 - math.cos(math.pi * left)))


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


def _group(
    name: str, tensor: nn.Parameter, rates: Mapping[str, float], freeing: str, train: Train, matrices: set[int]
) -> dict[str, Any]:
    part, _, rest = name.partition(".")
    if part == "delta":
        kind, _, key = rest.partition(".")
        peak = rates[freeing if kind == "freed" else key.partition(":")[0]]
    else:
        peak = train.layers_lr if part == "layers" else train.head_lr
    matrix = tensor.ndim > 1 or id(tensor) in matrices  # of a child network only entries are there
    decay = train.weight_decay if matrix and part != "layers" else 0.0
    return {"params": [tensor], "name": name, "lr": peak, "peak": peak, "weight_decay": decay}
