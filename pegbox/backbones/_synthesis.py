"""Networks that make speech of text: sites for methods, what some of them learn by, and no fold from waveforms."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from torch import Tensor, nn

from pegbox.backbones._family import Stack, Undo, Where, always_real


@dataclass(frozen=True)
class Taught:
    """A batch of clips as a synthesis network learns them; 0 pads units, frames, pitch and energy, NaN pads Mel."""

    units: Tensor  # (batch, units)
    frames: Tensor  # (batch, units), of each unit
    mel: Tensor  # (batch, time, bands)
    pitch: Tensor  # (batch, units, 1)
    energy: Tensor  # (batch, units, 1)
    voice: int = 0


@dataclass(frozen=True)
class Lessons:
    """How a network that learns from units with known durations is driven; functions take the core network first."""

    voices: Callable[[Any], int]  # configuration → how many voices it has been told apart by, at least 1
    loss: Callable[[Any, Taught], Tensor]  # the network's own loss, the mean over a batch
    speak: Callable[[Any, Tensor, int], tuple[Tensor, Tensor]]  # (units,), voice → (time, bands), frames of each unit


@dataclass(frozen=True, kw_only=True)
class Synthesis:
    """One kind of synthesis network, which a method is attached to whole: what has no edits stays frozen."""

    name: str
    network: str  # class of transformers by which it is recognised in a caller's model
    checkpoints: Mapping[str, str]  # type in a checkpoint's configuration → class of transformers that loads it
    stacks: tuple[Stack, ...]  # in the order of the signal; blocks are numbered through
    norms_first: Callable[[Any], bool]  # whether a block's norms stand before its parts
    ready: Callable[[nn.Module], Undo] = always_real  # makes every site real on the core; returns how to undo it
    unused: tuple[str, ...] = ()  # tensors that full tuning leaves alone: names, or patterns
    lessons: Lessons | None = None  # None: methods attach to it in a caller's own loop only

    @property
    def model_types(self) -> tuple[str, ...]:
        """Those of the checkpoints' configurations."""
        return tuple(self.checkpoints)

    @property
    def cores(self) -> tuple[str, ...]:
        """The class name by which the network is recognised inside a caller's model."""
        return (self.network,)


def like(roles: Mapping[str, Where], changed: Mapping[str, Where]) -> Mapping[str, Where]:
    """Returns the sites of kindred blocks, some of them changed; `enter` only where it is among those."""
    kept = {role: where for role, where in roles.items() if role != "enter" or role in changed}
    return MappingProxyType({role: changed.get(role, where) for role, where in kept.items()})
