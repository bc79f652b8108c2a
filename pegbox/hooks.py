"""How each verb acts on real modules: hooks and parametrizations, each with its undoing. Only `delta` calls these."""

from collections.abc import Callable
from inspect import signature
from typing import Any

from torch import Tensor, nn
from torch.nn.utils import parametrize

from pegbox import attention
from pegbox.attention import real_frames
from pegbox.errors import RecipeError
from pegbox.sites import Mixing, Reframing, Site

Undo = Callable[[], None]


def around(site: Site, module: nn.Module) -> Undo:
    if site.place == "memory":
        return attention.edit_memory(site.entry, module)
    if site.place == "input":
        return _before(site.entry, module)
    if site.entry is site.exit:
        return _after(site.exit, module)
    return _across(site.entry, site.exit, module)


def _before(entry: nn.Module, module: nn.Module) -> Undo:
    def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        x = _first(args, kwargs)
        edited = module(x, x).to(x.dtype)
        return ((edited, *args[1:]), kwargs) if args else (args, {**kwargs, next(iter(kwargs)): edited})

    return entry.register_forward_pre_hook(hook, prepend=True, with_kwargs=True).remove


def _after(leave: nn.Module, module: nn.Module) -> Undo:
    def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        return _edited(module, _first(args, kwargs), output)

    return leave.register_forward_hook(hook, prepend=True, with_kwargs=True).remove


def _across(entry: nn.Module, leave: nn.Module, module: nn.Module) -> Undo:
    waiting: list[Any] = []

    def enter(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        waiting[:] = [_first(args, kwargs)]

    def hook(_: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        return _edited(module, waiting.pop(), output)

    first = entry.register_forward_pre_hook(enter, with_kwargs=True)
    return both(first.remove, leave.register_forward_hook(hook, prepend=True).remove)


def tell(site: Site, module: Mixing) -> Undo:
    """Tells a module which frames are real, from the mask that its block is given."""

    def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        args, kwargs = _by_name(site.home, args, kwargs)
        module.real = real_frames(kwargs.get("attention_mask", args[1] if len(args) > 1 else None))

    if site.home is None or site.block is None:
        raise RecipeError(
            f"{type(module).__name__} looks across frames and must stand inside a block, not at '{site.name}'"
        )
    first = site.place == "input"  # told before it acts; elsewhere behind whatever changes the block's frames
    return site.home.register_forward_pre_hook(hook, prepend=first, with_kwargs=True).remove


def reframe(site: Site, module: Reframing) -> Undo:
    """Gives a block other frames than those outside it; its masks and position bias go with them, and come back."""
    outside: list[Any] = []

    def enter(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        args, kwargs = _by_name(site.entry, args, kwargs)
        x = _first(args, kwargs)
        module.real = real_frames(kwargs.get("attention_mask"))
        outside[:] = [x.shape[1], kwargs.get("position_bias")]
        inner = module.enter(x).to(x.dtype)
        kwargs = {name: attention.reframed(name, value, module) for name, value in kwargs.items()}
        return ((inner, *args[1:]), kwargs) if args else (args, {**kwargs, next(iter(kwargs)): inner})

    def leave(_: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        time, bias = outside
        if isinstance(output, tuple):
            return (module.leave(output[0], time), *(bias for _ in output[1:]))
        return module.leave(output, time)

    first = site.entry.register_forward_pre_hook(enter, prepend=True, with_kwargs=True)
    return both(first.remove, site.entry.register_forward_hook(leave).remove)


def both(first: Undo, second: Undo) -> Undo:
    def undo() -> None:
        first()
        second()

    return undo


def on(owner: Any, tensor: str, module: nn.Module) -> Undo:
    order, before, own = list(owner._parameters), type(owner), None
    if parametrize.is_parametrized(owner):  # a weight norm: the class that holds its properties is that of copies too
        owner.__class__ = own = _class_like(before)
    parametrize.register_parametrization(owner, tensor, module, unsafe=True)

    def undo() -> None:
        if parametrize.is_parametrized(owner, tensor):
            parametrize.remove_parametrizations(owner, tensor, leave_parametrized=False)
            for name in order:  # an optimiser's state is loaded by position
                if name in owner._parameters:
                    owner._parameters[name] = owner._parameters.pop(name)
        if parametrize.is_parametrized(owner) and type(owner) is own:
            owner.__class__ = before

    return undo


def _class_like(parametrized: type) -> type:
    inherited = ("__dict__", "__weakref__")
    members = {name: member for name, member in vars(parametrized).items() if name not in inherited}
    return type(parametrized.__name__, parametrized.__bases__, members)


def _by_name(block: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Returns a block's arguments, all but its first by name: FastSpeech 2's are given their mask by place."""
    names = list(signature(block.forward).parameters) if len(args) > 1 else []
    if "attention_mask" not in names:
        return args, kwargs
    return args[:1], dict(zip(names[1:], args[1:], strict=False)) | kwargs


def _first(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return args[0] if args else next(iter(kwargs.values()))


def _edited(module: nn.Module, x: Tensor, output: Any) -> Any:
    if isinstance(output, tuple):
        return (module(x, output[0]).to(output[0].dtype), *output[1:])
    return module(x, output).to(output.dtype)
