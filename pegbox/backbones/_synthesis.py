"""Networks that make speech of text: sites for methods, what they learn by, and no fold from waveforms."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple

import torch
from torch import Tensor, nn

from pegbox.backbones._family import Front, Stack, Undo, Where, always_real
from pegbox.mel import Analysis

Voice = int | Tensor  # the number of one of the network's own voices, or a speaker's embedding, (width,)
_NOTHING: Final = partial(torch.empty, 0)


@dataclass(frozen=True)
class Taught:
    """A batch of clips as a synthesis network learns them, and of the rest what it `learns`; NaN pads Mel and waves."""

    units: Tensor  # (batch, units), 0 pads
    counts: Tensor  # (batch,), units of each clip
    voice: Voice = 0
    mel: Tensor = field(default_factory=_NOTHING)  # (batch, time, bands) on the network's scale
    wave: Tensor = field(default_factory=_NOTHING)  # (batch, samples)
    frames: Tensor = field(default_factory=_NOTHING)  # (batch, units), of each unit, 0 pads
    pitch: Tensor = field(default_factory=_NOTHING)  # (batch, units, 1), 0 pads
    energy: Tensor = field(default_factory=_NOTHING)  # (batch, units, 1), 0 pads

    @property
    def told(self) -> Tensor:
        """Which units are real, (batch, units)."""
        return torch.arange(self.units.shape[1], device=self.units.device) < self.counts[:, None]


class Spoken(NamedTuple):
    """What a network says: Mel frames on its scale, (time, bands), or sound, (samples,); and each unit's frames."""

    x: Tensor
    frames: Tensor | None = None  # (units,), None where the network does not tell


@dataclass(frozen=True)
class Lessons:
    """How a network that makes speech is taught and driven; functions take the core network or its configuration."""

    reads: Literal["times", "text"]  # units whose durations are known, or texts by the checkpoint's own tokenizer
    learns: tuple[str, ...]  # what of `Taught` its loss looks at, beside units
    analysis: Callable[[Any, Front, str], Analysis]  # how its frames are cut; the string is the checkpoint's place
    voices: Callable[[Any], int]  # how many voices it has been told apart by, at least 1
    loss: Callable[[Any, Taught], Tensor]  # the network's own loss, the mean over a batch
    speak: Callable[[Any, Tensor, Voice], Spoken]  # one text, (units,)
    draft: Callable[[Any, Taught], Tensor] | None = None  # one clip's frames, each told the recording's before it
    embedding: Callable[[Any], int] = lambda config: 0  # width of what tells it the voice; 0: voices have numbers
    longest: Callable[[Any], tuple[float, float]] = lambda config: (math.inf, math.inf)  # units, Mel frames
    scale: float = 1.0  # natural logarithms that 1 on the scale of its frames is, where it reads texts
    sounds: bool = False  # it makes sound by itself, not Mel frames


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
