"""The nouns of a family's table: where sites lie, what a state is, and everything else a fold must know."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Final, Literal

import torch
from torch import Tensor, nn

Undo = Callable[[], None]
Precision = Literal["fp32", "bf16"]
DTYPES: Final = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class State:
    """What travels from block to block; `mask` is True on real frames, None where every frame is real."""

    x: Tensor  # (batch, time, width)
    mask: Tensor | None = None  # (batch, time)
    carry: Tensor | None = None  # what a family hands along, e.g. WavLM's position bias (heads, time, time)

    @property
    def attention_mask(self) -> Tensor | None:
        """The mask as fused attention wants it."""
        return None if self.mask is None else self.mask[:, None, None, :]  # (batch, 1, 1, time)


@dataclass(frozen=True)
class Span:
    """A site that begins at one module's input and ends at another's output."""

    entry: str
    exit: str


@dataclass(frozen=True)
class Part:
    """A site whose input and output are one module's while the weight lies deeper inside."""

    module: str
    owner: str


@dataclass(frozen=True)
class Entry:
    """A site at a module's input; x and y are both what goes in."""

    module: str


@dataclass(frozen=True)
class Memory:
    """The (key, value) pair inside an attention module."""

    module: str


@dataclass(frozen=True)
class Weights:
    """A site whose module is given (batch, channels, time): methods can edit its weight and bias, not its output."""

    module: str


Where = str | Span | Part | Entry | Memory | Weights


@dataclass(frozen=True)
class Stack:
    """A list of blocks that all have the same sites; `name` is '' where a network has one list only."""

    name: str
    blocks: str  # path to the list
    roles: Mapping[str, Where]  # block sites: role → path inside a block
    causal: bool = False  # whether it speaks frame by frame, so that no block may look at later frames

    def label(self, number: int) -> str:
        """Returns the name of a block where the list has one: `decoder.2`."""
        return f"{self.name}.{number}" if self.name else ""


@dataclass(frozen=True)
class Front:
    """The settings of a network's input, from its `preprocessor_config.json`."""

    rate: int
    settings: Mapping[str, Any] = field(default_factory=dict)


def _nothing(core: nn.Module, time: int) -> None:
    """Nothing travels beside the hidden frames."""


def always_real(core: nn.Module) -> Undo:
    """Every site of this family is real as the library has it; nothing to do and nothing to undo."""
    return lambda: None


@dataclass(frozen=True, kw_only=True)
class Family:
    """One kind of network. Functions take the core network first; lengths are in samples on the CPU."""

    name: str
    model_types: tuple[str, ...] = ()  # those of the checkpoints' configurations, for networks of transformers
    network: str = ""  # class of transformers that loads the checkpoint
    inside: str = ""  # path from that class to the core, '' for itself
    read: Callable[[str], tuple[nn.Module, Front] | None] | None = None  # other networks: source → core, or not mine
    cores: tuple[str, ...]  # class names by which a core is recognised inside a caller's model
    blocks: str  # path to the list of blocks
    roles: Mapping[str, Where]  # block sites: role → path inside a block
    stem_roles: Callable[[nn.Module], Mapping[str, Where]]  # stem sites: role → path inside the core
    front: Callable[[Front, Any], nn.Module]  # makes the module from wave to what the core eats
    enter: Callable[[nn.Module, Tensor, Tensor], State]  # core, (batch, samples or …), lengths → first state; or, with
    # `convolve`, core, features, frames → first state
    convolve: Callable[[nn.Module, Tensor, Tensor], tuple[Tensor, Tensor]] | None = None  # what comes before: core,
    # (batch, samples), lengths → features (batch, time, channels), frames
    channels: Callable[[Any], int] = lambda config: 0  # of those features
    carry: Callable[[nn.Module, int], Tensor | None] = _nothing  # what State.carry is at `time` frames
    step: Callable[[nn.Module, State], State]  # a block, state → state
    norm: Callable[[nn.Module, Tensor], Tensor]  # after the last block
    frames: Callable[[Any, int], int]  # config, samples → frames
    hop: Callable[[Any], int | None]  # samples a frame; None where frames are no time axis
    shortest: Callable[[Any], int]  # samples a clip must have
    longest: Callable[[Any], int | None]  # samples a clip may have; None without a limit
    norms_first: Callable[[Any], bool]  # whether a block's norms stand before its parts
    spectrogram: Callable[[Any], tuple[int, int] | None] = lambda config: None  # frames and bands, where they are fixed
    windows: Callable[[int], int] = lambda samples: 0  # samples → frames of that spectrogram before it is padded
    projection: str = ""  # path to what makes frames of a convolution front-end's features
    ready: Callable[[nn.Module], Undo] = always_real  # makes every site real on the core; returns how to undo it
    unused: tuple[str, ...] = ()  # tensors that full tuning leaves alone: names, or patterns such as 'adapter.*'
    fixed: tuple[str, ...] = ()  # those of them that the fold reads all the same: a table of sines
    front_is_wave: bool = True  # whether the core itself is given the waveform
    padding: str = ""  # the rule, in words

    @property
    def stacks(self) -> tuple[Stack, ...]:
        """The one list of blocks."""
        return (Stack("", self.blocks, self.roles),)

    @property
    def unread(self) -> tuple[str, ...]:
        """The tensors that take no part in the fold, as names or patterns."""
        return tuple(name for name in self.unused if name not in self.fixed)

    def reads(self, name: str) -> bool:
        """Returns whether a tensor takes part in the fold."""
        return not among(name, self.unread)


def among(name: str, patterns: tuple[str, ...]) -> bool:
    """Returns whether a tensor's name is one of these, or fits one of them."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)
