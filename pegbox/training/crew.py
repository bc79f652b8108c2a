"""The processes that compute one run together: which part is whose, and how the parts become one again.

Every process holds the whole model and takes the same steps. A batch is the recipe's, however many processes share
it: each computes the outputs of its clips, all see the outputs of all, and gradients are summed.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from hashlib import blake2b
from typing import Any, Final, TypeVar

import torch
from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs, broadcast_object_list, gather_object
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from pegbox.errors import PegboxError, RecipeError
from pegbox.methods._shared import Shared

T = TypeVar("T")
Outputs = tuple[Tensor, Tensor]  # logits (clips, …) or (clips, time, …), frames (clips,)
_PATIENCE: Final = timedelta(days=7)  # one may fill a cache, or measure, while the others wait; the dead are noticed


class Crew:
    """All processes of a run; mostly one."""

    def __init__(self, accelerator: Accelerator) -> None:
        self._accelerator = accelerator
        self.device: torch.device = accelerator.device
        self.count: int = accelerator.num_processes
        self.index: int = accelerator.process_index
        self._shared: list[Shared] = []

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and prints."""
        return self.index == 0

    def share(self, items: Sequence[T]) -> list[T]:
        """Returns what this process takes of some items; there may be none."""
        return list(items[self.index :: self.count])

    def each(self, work: Callable[[], T]) -> list[T]:
        """Lets every process work on its own, and returns what they found, in the order of `share`.

        Raises:
            PegboxError, OSError: in all processes, what one of them refused.
        """
        if self.count == 1:
            return [work()]
        return _agreed(gather_object([_tried(work)]))

    def agree(self, problem: PegboxError | OSError | None) -> None:
        """Raises in all processes what one of them has to refuse."""
        if self.count == 1:
            _agreed([(None, problem)])
        else:
            _agreed(gather_object([(None, problem)]))

    def together(self, work: Callable[[], T]) -> T:
        """Returns what this process found, once all have found theirs; raises as `each`."""
        found: list[T] = []
        self.each(lambda: found.append(work()))
        return found[0]

    def once(self, work: Callable[[], T]) -> T:
        """Lets the first process work alone, and returns in all what it found; raises as `each`."""
        if self.count == 1:
            return work()
        told: list[Any] = [_tried(work) if self.first else None]
        return _agreed(broadcast_object_list(told))[0]  # type: ignore[no-any-return]

    def check(self, model: nn.Module) -> None:
        """Refuses what looks across the clips of a batch before the loss does, and cannot do so over processes."""
        self._shared = [each for each in model.modules() if isinstance(each, Shared)]
        norms = {name: each for name, each in model.named_modules() if isinstance(each, _BatchNorm)}
        alone = [name for name, each in norms.items() if each.training and not isinstance(each, Shared)]
        if alone and self.count > 1:
            raise RecipeError(
                f"'{alone[0]}' normalises over the clips of a batch, which {self.count} processes share; "
                "train this method in one process"
            )

    def outputs(
        self, clips: Sequence[Any], read: Callable[[Sequence[Any]], T], compute: Callable[[T], Outputs]
    ) -> Outputs:
        """Returns the outputs of a batch in its order; gradients flow to those that this process has computed."""
        if self.count == 1:
            return compute(read(clips))
        own, live = self.share(clips), list[Outputs]()
        asking = [each for each in self._shared if each.waits]
        batch = self.together(lambda: read(own or clips[:1])) if asking else None  # no pass fails before it begins
        for each in asking:
            each.counts = bool(own)

        def work() -> Outputs | None:
            if own or batch is not None:
                live.append(compute(read(own) if batch is None else batch))
            return (live[0][0].detach().cpu(), live[0][1].cpu()) if own else None

        told = self.each(work)
        if own:
            told[self.index] = live[0]
        logits, frames = _whole([each for each in told if each is not None], self.device)
        return (logits + live[0][0].sum() * 0 if live and not own else logits), frames

    def sum_gradients(self, tensors: Sequence[Tensor]) -> None:
        """Gives each tensor the sum of its gradients over the processes; where none has one there is none."""
        if self.count == 1:
            return
        there = torch.tensor([float(tensor.grad is not None) for tensor in tensors], device=self.device)
        flat = [
            torch.zeros(tensor.numel(), device=self.device) if tensor.grad is None else tensor.grad.float().flatten()
            for tensor in tensors
        ]
        total = self._accelerator.reduce(torch.cat([there, *flat]), "sum")
        parts = total[len(tensors) :].split([tensor.numel() for tensor in tensors])
        for tensor, count, part in zip(tensors, total.tolist()[: len(tensors)], parts, strict=True):
            tensor.grad = part.view_as(tensor).to(tensor.dtype) if count else None

    @contextmanager
    def own_part(self, *place: int) -> Iterator[None]:
        """Within it each process of several draws for itself, and what looks at a batch looks at all of it.

        Behind it all draw from where they were, in step.
        """
        if self.count == 1:
            yield
            return
        devices = [self.device] if self.device.type == "cuda" else []
        told = " ".join(map(str, (*place, self.index)))
        with torch.random.fork_rng(devices):
            torch.manual_seed(int.from_bytes(blake2b(told.encode(), digest_size=7).digest()))
            self._pass_together(True)
            try:
                yield
            finally:
                self._pass_together(False)

    def _pass_together(self, shared: bool) -> None:
        for each in self._shared:
            each.shared = shared


def accelerator() -> Accelerator:
    """Returns where this process computes and who computes with it, as a launcher has told by the environment."""
    launched = "LOCAL_RANK" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1
    on_cpu = launched and not torch.cuda.is_available()  # accelerate would let each train a model of its own
    return Accelerator(cpu=on_cpu, kwargs_handlers=[InitProcessGroupKwargs(timeout=_PATIENCE)])


def part() -> None:
    """Ends what the processes of a run share: its threads must not outlive the interpreter that they call."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def default_device() -> torch.device:
    """Returns where this process computes: a GPU where there is one."""
    device: torch.device = accelerator().device
    return device


def _tried(work: Callable[[], T]) -> tuple[T | None, PegboxError | OSError | None]:
    try:
        return work(), None
    except (PegboxError, OSError) as problem:
        return None, problem


def _agreed(told: Sequence[tuple[Any, PegboxError | OSError | None]]) -> list[Any]:
    for _, problem in told:
        if problem is not None:
            raise problem
    return [found for found, _ in told]


def _whole(parts: Sequence[Outputs], device: torch.device) -> Outputs:
    """Puts the parts of `Crew.share` back into order, padded to the longest; what lies in padding has no meaning."""
    longest = max(logits.shape[1] for logits, _ in parts)
    padded = [
        F.pad(logits, (0, 0) * (logits.ndim - 2) + (0, longest - logits.shape[1])).to(device) for logits, _ in parts
    ]
    total = sum(len(frames) for _, frames in parts)
    order = torch.tensor([place for start in range(len(parts)) for place in range(start, total, len(parts))]).argsort()
    return torch.cat(padded)[order.to(device)], torch.cat([frames.cpu() for _, frames in parts])[order]
