"""What makes sites real on a network, each step with its undoing."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from torch import nn

from pegbox.backbones._family import Undo


def undo_all(steps: Iterable[Undo]) -> Undo:
    """Returns one function that undoes all of these."""
    steps = list(steps)

    def undo() -> None:
        for each in steps:
            each()

    return undo


def no_layerdrop(holder: Any) -> Undo:
    """Stops LayerDrop, which would leave parts without gradient; `holder` is what has its rate."""
    before, holder.layerdrop = holder.layerdrop, 0.0

    def undo() -> None:
        holder.layerdrop = before

    return undo


def instead(modules: Iterable[nn.Module], forward: Callable[..., Any]) -> Undo:
    """Puts another forward into each of these modules, which is given the module first."""
    replaced = [(module, vars(module).get("forward")) for module in modules]
    for module, _ in replaced:
        module.forward = partial(forward, module)

    def undo() -> None:
        for module, before in replaced:
            if before is None:
                del module.forward
            else:
                module.forward = before

    return undo


def still(core: nn.Module) -> Undo:
    """Lets every batch norm use its stored statistics and keep them, in training mode too."""
    norms = [module for module in core.modules() if isinstance(module, nn.BatchNorm1d)]
    return undo_all(_still(norm) for norm in norms)


def _still(norm: nn.Module) -> Undo:
    modes: list[bool] = []

    def hold(_: nn.Module, args: Any) -> None:
        modes.append(norm.training)
        norm.training = False

    def let_go(_: nn.Module, args: Any, output: Any) -> None:
        norm.training = modes.pop()

    first = norm.register_forward_pre_hook(hold)
    last = norm.register_forward_hook(let_go, prepend=True)  # pairs may stand inside each other
    return undo_all([first.remove, last.remove])
