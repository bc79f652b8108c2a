"""The only surgeon: attaches a method's edits to a network, takes them off bit-exactly, or merges them.

All trained numbers of a method live in its `Delta`, never in the backbone. Only full tuning (`free`)
trains the backbone's own tensors, in place.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final, Protocol, runtime_checkable
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from pegbox import hooks
from pegbox.entries import Entries, train_inside
from pegbox.errors import RecipeError, WeightsError
from pegbox.hooks import Undo
from pegbox.sites import BELOW, Edit, Mixing, Reframing, Side, Site

_carrying: Final[WeakSet[nn.Module]] = WeakSet()


@runtime_checkable
class Mergeable(Protocol):
    """A module around a site that is linear there, so that a weight and a bias can hold its effect."""

    def merged(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Returns the weight and bias of the site's module with this edit in them."""


@dataclass(frozen=True)
class Term:
    """One method of a union, planned: the name under which its numbers are kept, and its edits."""

    name: str
    edits: tuple[Edit, ...]


class Delta(nn.Module):
    """Everything a method trains, attached to one network until `detach` or `merge`.

    Its parameters are what an optimiser wants; its tensors are what an artefact stores.
    """

    def __init__(
        self,
        core: nn.Module,
        terms: Iterable[Term],
        unused: tuple[str, ...] = (),
        ready: Callable[[nn.Module], Undo] | None = None,
    ) -> None:
        super().__init__()
        self.terms = tuple(terms)
        self.edits = nn.ModuleDict()
        self.freed = nn.ParameterDict()
        self._core, self._unused, self._ready = (core,), unused, ready  # in a tuple: the network is no part of this
        self._away: dict[str, Tensor] = {}  # what a freed network had learnt when it was last detached
        self._restore: list[Undo] = []
        self._attached: list[tuple[Edit, Undo]] = []
        self._keep: dict[int, Undo] = {}  # of edits that train entries in place: how to leave them there
        self._order = self._named()
        self.attach()

    def attach(self) -> None:
        """Puts every edit on, with the numbers that it has now: at first, or again after `detach`.

        Raises:
            RecipeError: when the network carries a method; it is as it was then.
        """
        core = self._core[0]
        if core in _carrying:  # freezing it again would stop what it carries, silently
            raise RecipeError(
                "this network already carries a method; detach or merge that first, or attach a union: 'lora + bitfit'"
            )
        self._restore = [lambda: _carrying.discard(core), _freeze(core), *([self._ready(core)] if self._ready else [])]
        _carrying.add(core)
        try:
            for edit in self._order:
                self._attached.append((edit, self._put_on(edit)))
        except RecipeError:
            self.detach()
            raise

    @property
    def lowest(self) -> int | None:
        """The lowest edited block; -1 when the stem is edited or everything is free, None without edits."""
        return min(
            (-1 if edit.site is None or edit.site.block is None else edit.site.block for edit in self._inside),
            default=None,
        )

    @property
    def convolves(self) -> bool:
        """Whether anything is edited at the convolutions of a front-end or before them, or everything is free."""
        sites = [edit.site for edit in self._inside]
        return any(site is None or (site.block is None and site.role.partition(".")[0] in BELOW) for site in sites)

    @property
    def _inside(self) -> list[Edit]:
        return [edit for term in self.terms for edit in term.edits if edit.verb != "beside"]

    @property
    def side(self) -> Side | None:
        """The module between the network and the head, if a method plans one."""
        found = [edit.module for term in self.terms for edit in term.edits if isinstance(edit.module, Side)]
        return found[0] if found else None

    def detach(self) -> None:
        """Takes every edit off; each tensor of the network is bit for bit what it was."""
        while self._attached:
            self._attached.pop()[1]()
        self._leave()

    @torch.no_grad()
    def merge(self) -> None:
        """Writes the edits into the network's own weights and takes them off.

        Raises:
            RecipeError: where an edit is not linear at its site; nothing has been changed then.
        """
        for edit, _ in self._attached:
            _check_mergeable(edit)
        own = [pair for pair in self._attached if pair[0].verb != "around"]
        around = [pair for pair in self._attached if pair[0].verb == "around"]
        for edit, undo in [*own, *reversed(around)]:  # in the order in which they act
            _merge(edit, self._keep.get(id(edit), undo))
        self._attached.clear()
        self._order.clear()  # its effect is in the weights now: it must not come on top again
        self._leave()

    def tensors(self) -> dict[str, Tensor]:
        """Returns a copy of every trained number by name, on the CPU."""
        return {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in self.state_dict().items()}

    @torch.no_grad()
    def load_tensors(self, tensors: Mapping[str, Tensor]) -> "Delta":
        """Takes over stored numbers; names and shapes must be exactly those of this method on this network."""
        take_over(self.state_dict(keep_vars=True), tensors, "this method on this network")
        return self

    def short(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Returns tensors as an artefact holds them: changes for the values of a child network in half precision."""
        found = dict(tensors)
        for name, each in self._halves().items():
            found[f"{name}.changes"] = each.short(found.pop(f"{name}.values"))
        return found

    def whole(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Returns what `short` gave as `load_tensors` takes it; what does not fit stays, to be refused there."""
        found = dict(tensors)
        for name, each in self._halves().items():
            if f"{name}.changes" in found and found[f"{name}.changes"].shape == each.start.shape:
                found[f"{name}.values"] = each.whole(found.pop(f"{name}.changes"))
        return found

    def round(self) -> None:
        """Gives every number the value that an artefact keeps of it."""
        if self._halves():
            self.load_tensors(self.whole(self.short(self.tensors())))

    def entries(self) -> Iterator[Entries]:
        """Yields what is trained inside the network's own tensors, for a trainer that clips or thins it."""
        yield from (module for module in self.edits.values() if isinstance(module, Entries))

    def _halves(self) -> dict[str, Entries]:
        return {f"edits.{name}": each for name, each in self.edits.items() if isinstance(each, Entries) and each.halved}

    def _leave(self) -> None:
        while self._restore:
            self._restore.pop()()

    def _named(self) -> list[Edit]:
        """Takes over every edit's module and returns the edits in the order in which they must go on.

        Hooks go before those that a caller or the library has hung there, so the last of ours goes on first; edits
        of tensors go before those, so that a merge finds plain tensors.
        """
        plan = [(term.name, edit) for term in self.terms for edit in term.edits]
        if sum(edit.verb == "beside" for _, edit in plan) > 1:
            raise RecipeError("two methods of a union want to stand between the network and the head; choose one")
        for name, edit in plan:
            self._take(name, edit)
        own = [edit for _, edit in plan if edit.verb != "around"]
        return own + [edit for _, edit in reversed(plan) if edit.verb == "around"]

    def _take(self, name: str, edit: Edit) -> None:
        if edit.module is None:
            return
        place = "beside" if edit.site is None else edit.site.name
        key = ":".join(filter(None, (name, place, edit.tensor))).replace(".", "/")
        if key in self.edits:
            raise RecipeError(f"{name} plans two edits at the site '{place}'; one method edits a site once")
        home = None if edit.site is None else next(edit.site.entry.parameters(), None)
        self.edits[key] = edit.module if home is None else edit.module.to(home.device)

    def _put_on(self, edit: Edit) -> Undo:
        if edit.verb == "beside":  # nothing hangs on the network: whoever owns the head calls it
            return lambda: None
        if edit.site is None or edit.module is None:
            return self._free(self._core[0])
        if isinstance(edit.module, Entries):
            undo, self._keep[id(edit)] = train_inside(edit.site.owner, edit.tensor, _home(edit.site), edit.module)
            return undo
        if edit.verb == "on":
            return hooks.on(edit.site.owner, edit.tensor, edit.module)
        if isinstance(edit.module, Reframing):
            return hooks.reframe(edit.site, edit.module)
        undo = hooks.around(edit.site, edit.module)
        return hooks.both(undo, hooks.tell(edit.site, edit.module)) if isinstance(edit.module, Mixing) else undo

    def _free(self, core: nn.Module) -> Undo:
        every = dict(core.named_parameters())
        own = {name: every[name] for name in every if not any(fnmatchcase(name, each) for each in self._unused)}
        originals = {name: tensor.detach().to("cpu", copy=True) for name, tensor in own.items() if not tensor.is_meta}
        with torch.no_grad():
            for name, learnt in self._away.items():
                own[name].copy_(learnt)
        for name, tensor in own.items():
            self.freed[name.replace(".", "/")] = tensor.requires_grad_(True)

        @torch.no_grad()
        def undo() -> None:
            self._away = {name: own[name].detach().clone() for name in originals}
            for name, original in originals.items():
                own[name].copy_(original)

        return undo


@torch.no_grad()
def take_over(own: Mapping[str, Tensor], given: Mapping[str, Tensor], what: str) -> None:
    """Copies stored numbers into tensors of the same names and shapes; places of a child network must be the same.

    Raises:
        WeightsError: naming the first that does not fit; nothing has been changed then.
    """
    expected = {name: tuple(tensor.shape) for name, tensor in own.items()}
    found = {name: tuple(tensor.shape) for name, tensor in given.items()}
    if expected != found:
        wrong = sorted(name for name in {*expected, *found} if expected.get(name) != found.get(name))
        raise WeightsError(
            f"{len(wrong)} stored tensors do not fit {what}, first '{wrong[0]}': "
            f"stored {found.get(wrong[0], 'not at all')}, wanted {expected.get(wrong[0], 'not at all')}"
        )
    for name, tensor in own.items():
        if tensor.dtype == torch.uint8 and not torch.equal(tensor.cpu(), given[name].cpu()):
            raise WeightsError(f"the stored child network is another one: its places in '{name}' differ")
    for name, tensor in own.items():
        tensor.copy_(given[name])


def _home(site: Site) -> nn.Module:
    return site.entry if site.home is None else site.home


def _freeze(core: nn.Module) -> Undo:
    flags = [(parameter, parameter.requires_grad) for parameter in core.parameters()]
    core.requires_grad_(False)

    def thaw() -> None:
        for parameter, flag in flags:
            parameter.requires_grad_(flag)

    return thaw


def _mergeable(module: object) -> Mergeable | None:
    return module if isinstance(module, Mergeable) else None


def _check_mergeable(edit: Edit) -> None:
    if edit.verb in ("on", "inside", "free") or (edit.site is not None and edit.site.owner and _mergeable(edit.module)):
        return
    place = edit.site.name if edit.site else "the network"
    raise RecipeError(
        f"{type(edit.module).__name__} at '{place}' is not linear there and cannot be merged; keep the delta instead"
    )


def _merge(edit: Edit, undo: Undo) -> None:
    if edit.site is None:
        return
    owner: Any = edit.site.owner
    linear = _mergeable(edit.module) if edit.verb == "around" else None
    if linear is not None:
        weight, bias = linear.merged(owner.weight, owner.bias)
        owner.weight.copy_(weight)
        if bias is not None:
            owner.bias.copy_(bias)
        undo()
    elif edit.verb == "inside":
        undo()
    elif parametrize.is_parametrized(owner, edit.tensor):
        parametrize.remove_parametrizations(owner, edit.tensor, leave_parametrized=True)
