"""Some entries of a network's own tensors, trained in place: a child network's values and where they stand."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from pegbox.errors import NonFiniteError, RecipeError
from pegbox.importance import pack, unpack

Undo = Callable[[], None]
_VALUES: Final = ("values", "changes")  # what an artefact holds of one tensor's entries beside their places
_JOINED: Final = "children."
_LARGEST: Final = 2**31 - 1  # entries of one tensor that int32 places can name


class Entries(nn.Module):
    """Trained values of some entries of one tensor. An optimiser, an artefact and a resume see these alone.

    The dense gradient of the tensor is gathered into the gradient of `values` and dropped. With `parent` the squares
    of all its entries are summed in `squares` first, over as many backward passes as `passes` says. `keep` below 1
    takes a fresh random part of the entries at each update (`thin`). `inside` holds the tensor while it is on. `half`:
    an artefact holds what has changed, in half precision.
    """

    index: Tensor
    start: Tensor

    def __init__(
        self, tensor: Tensor, index: Tensor, parent: bool = False, keep: float = 1.0, half: bool = False
    ) -> None:
        super().__init__()
        if tensor.numel() > _LARGEST:
            raise RecipeError(f"a tensor of {tensor.numel():,} entries is too large for a child network")
        self.parent, self.keep = parent, keep
        self.passes, self.seen, self.squares = 1, 0, torch.zeros(())
        self.inside: tuple[Tensor, ...] = ()  # in a tuple: it is no part of this
        self.unsure = True  # whether the values may have changed since they were written into the tensor
        self.matrix = tensor.ndim > 1  # weight decay acts on those
        chosen = torch.empty(len(index), device="meta") if tensor.is_meta else tensor.detach().reshape(-1)[index]
        self.values = nn.Parameter(chosen.float()) if len(index) else None  # (entries chosen,)
        if len(index) and not tensor.is_meta:
            for name, code in zip(("low", "high"), pack(index, tensor.numel()), strict=True):
                self.register_buffer(name, code)
        self.register_buffer("index", index.int(), persistent=False)  # (entries chosen,), ascending
        self.halved = half and len(index) > 0
        if self.halved:
            self.register_buffer("start", chosen.float().clone(), persistent=False)  # (entries chosen,), as pretrained

    def gather(self, weight: Tensor) -> None:
        """Takes the chosen entries of a tensor's new gradient and drops the gradient."""
        dense = weight.grad
        self.unsure = True
        self.seen += 1
        if dense is None or (self.parent and self.seen < self.passes):
            return  # the norm of a sum is not the sum of norms: it stays dense until the last pass
        if self.parent:
            self.squares = dense.float().square().sum()
        if self.values is not None:
            own = dense.reshape(-1)[self.index].to(self.values.dtype)
            self.values.grad = own if self.values.grad is None else self.values.grad + own
        weight.grad, self.seen = None, 0

    def summed(self) -> None:
        """Goes on where other processes have had a part in the gradient: as if its last pass had been here."""
        self.unsure = True
        if self.parent:
            self.seen = self.passes - 1
            for weight in self.inside:
                self.gather(weight)
            self.seen = 0

    @torch.no_grad()
    def thin(self) -> None:
        """Keeps a random part `keep` of the gradient's entries, scaled by its inverse (task-free Child-Tuning)."""
        if self.keep < 1 and self.values is not None and self.values.grad is not None:
            drawn = torch.empty_like(self.values).bernoulli_(self.keep)
            self.values.grad.mul_(drawn).div_(self.keep)

    def short(self, values: Tensor) -> Tensor:
        """Returns what an artefact holds of these values: their changes in half precision.

        Half precision keeps eleven bits: of a change, which is small, they tell far more than of the value itself.
        """
        changes = (values.detach() - self.start.to(values.device)).half()
        if not bool(changes.isfinite().all()):
            raise NonFiniteError('an entry has changed by more than half precision holds; take values="single"')
        return changes

    def whole(self, changes: Tensor) -> Tensor:
        """Returns the values of what `short` gave, in single precision; `whole` of their `short` is them again."""
        return self.start.to(changes.device) + changes.float()


def places(name: str, stored: Mapping[str, Tensor], entries: int) -> Tensor:
    """Returns where the entries stand, from what an artefact or a choice stores of one tensor (int32)."""
    if f"{name}.high" not in stored:
        return torch.zeros(0, dtype=torch.int32)
    return unpack(stored[f"{name}.low"], stored[f"{name}.high"], entries)


def train_inside(owner: Any, tensor: str, home: nn.Module, entries: Entries) -> tuple[Undo, Undo]:
    """Trains entries of a module's tensor in place; returns how to take that off, and how to leave the values there.

    The values are written into the tensor before each pass through its owner or `home`, when they may have changed.
    """
    covered = parametrize.is_parametrized(owner, tensor)
    weight: Tensor = owner.parametrizations[tensor].original if covered else owner._parameters[tensor]
    if getattr(weight, "_pegbox_entries", False):
        raise RecipeError(
            f"two methods of a union train entries of the same '{tensor}'; put them into one child network"
        )
    if not weight.is_contiguous():
        raise RecipeError(
            f"a '{tensor}' is not contiguous in memory; call .contiguous() on the network's tensors first"
        )
    flat = weight.data.view(-1)
    before = None if weight.is_meta else flat[entries.index].clone()
    written = -1  # the version of the values that is in the tensor
    entries.unsure = True

    @torch.no_grad()
    def write(*_: object) -> None:
        nonlocal written
        values = entries.values
        if values is None or not (entries.unsure or values._version != written):
            return
        weight.data.view(-1)[entries.index] = values.data.to(weight.dtype)
        # Fused optimisers do not count versions: while there is a gradient, a step may follow.
        written, entries.unsure = values._version, values.grad is not None

    weight.requires_grad_(True)
    weight._pegbox_entries = True  # type: ignore[attr-defined]
    entries.inside = (weight,)
    hung = [  # a block may read the tensor without calling its owner, and others may call the owner before the block
        *(module.register_forward_pre_hook(write) for module in {owner, home}),
        weight.register_post_accumulate_grad_hook(entries.gather),  # type: ignore[no-untyped-call]
    ]

    def leave() -> None:
        write()
        for hook in hung:
            hook.remove()
        weight.requires_grad_(False)
        weight.grad, entries.inside = None, ()
        del weight._pegbox_entries  # type: ignore[attr-defined]

    @torch.no_grad()
    def undo() -> None:
        leave()
        if before is not None:
            weight.data.view(-1)[entries.index] = before.to(weight.device)

    return undo, leave


def together(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[list[Any]]]:
    """Returns tensors of which the children's stand end to end, three in all, and a table that tells them apart.

    A file names each of its tensors in some hundred bytes: a small child's names would take as much as its places.
    """
    packed = {name for name, tensor in tensors.items() if tensor.dtype == torch.uint8 and tensor.ndim == 1}
    names = [name.removesuffix(".low") for name in tensors if name in packed and name.endswith(".low")]
    names = [name for name in names if f"{name}.high" in packed]
    kinds = {name: next((kind for kind in _VALUES if f"{name}.{kind}" in tensors), "") for name in names}
    forms = {(tensors[f"{name}.{kind}"].dtype, tensors[f"{name}.{kind}"].ndim) for name, kind in kinds.items() if kind}
    if len(names) < 2 or len({*kinds.values()}) > 1 or len(forms) != 1:
        return dict(tensors), []
    parts = ("low", "high", kinds[names[0]])
    own = {f"{name}.{part}" for name in names for part in parts}
    rest = {name: tensor for name, tensor in tensors.items() if name not in own}
    joined = {f"{_JOINED}{part}": torch.cat([tensors[f"{name}.{part}"].cpu() for name in names]) for part in parts}
    return rest | joined, [[name, *(len(tensors[f"{name}.{part}"]) for part in parts)] for name in names]


def apart(tensors: Mapping[str, Tensor], table: Sequence[Sequence[Any]]) -> dict[str, Tensor]:
    """Returns the tensors that `together` was given."""
    if not table:
        return dict(tensors)
    names, *sizes = zip(*table, strict=True)
    kind = next((kind for kind in _VALUES if f"{_JOINED}{kind}" in tensors), _VALUES[0])
    found = {name: tensor for name, tensor in tensors.items() if not name.startswith(_JOINED)}
    for part, counts in zip(("low", "high", kind), sizes, strict=True):
        pieces = torch.split(tensors[f"{_JOINED}{part}"], list(counts))
        found |= {f"{name}.{part}": piece.clone() for name, piece in zip(names, pieces, strict=True)}
    return found
