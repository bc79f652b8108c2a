"""Sites: the named places of a network where a method may act, and the verbs by which it says so.

The whole vocabulary::

    stem:   wave   conv.0 … conv.6   frames
    block:  enter  q  k  v  o  memory  attn  norm1  up  down  ffn  norm2  leave

A site sees the input x and the output y of a module (or of a span of modules). At `wave` and `enter`
x and y are both what goes in; at `memory` both are the pair (key, value), each (batch, heads, time, head width).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal

import torch
from torch import Tensor, nn

from pegbox.blocks import select_blocks
from pegbox.errors import RecipeError, nearest

STEM_ROLES: Final = ("wave", "conv", "frames")
BELOW: Final = ("wave", "conv")  # those that stand before what a convolution front-end makes
BLOCK_ROLES: Final = (*("enter", "q", "k", "v", "o", "memory", "attn", "norm1", "up", "down", "ffn", "norm2", "leave"),)
Place = Literal["output", "input", "memory", "weights"]


@dataclass(frozen=True)
class Site:
    """One place: x is what `entry` is given, y what `exit` returns, `owner` holds the weight and bias, if any.

    Where `place` is "weights", x and y are (batch, channels, time), and only the weight and bias can be edited.
    """

    role: str
    block: int | None
    entry: nn.Module
    exit: nn.Module
    place: Place
    owner: nn.Module | None
    input_width: int
    output_width: int
    home: nn.Module | None = None  # the block that it belongs to, or the core for a site of the stem
    label: str = ""  # its block's name in a network with several lists of blocks: `decoder.2`
    causal: bool = False  # whether its block speaks frame by frame and may not look at later frames

    @property
    def name(self) -> str:
        """`3.q` for a site of block 3, `decoder.2.q` where blocks have names, `conv.0` or `frames` in the stem."""
        return self.role if self.block is None else f"{self.label or self.block}.{self.role}"


@dataclass(frozen=True)
class Sites:
    """The sites of one network that a method may choose from; calling it selects by role, in the order of blocks."""

    family: str
    width: int
    depth: int
    table: tuple[Site, ...]
    chosen: tuple[int, ...]
    norms_first: bool = False  # whether norm2 stands before the FFN (pre-norm) or behind its residual
    spectrogram: tuple[int, int] | None = None  # frames and bands, where `conv.0` is given (batch, 1, bands, frames)
    places: int | None = None  # frames of the longest clip, where a positional table ends
    projection: nn.Module | None = None  # what makes frames of a convolution front-end's features
    held: tuple[tuple[Site, str], ...] = ()  # every tensor that the network reads, in its blocks and outside them
    stacks: Mapping[str, range] = field(default_factory=dict)  # name → block numbers, where there are several lists

    def pool(self) -> Iterator[tuple[Site, str]]:
        """Yields every tensor of the chosen blocks, and of the norms outside them when all blocks are chosen.

        A place and the tensor's name there, in the order of the network's own parameters. Norms of convolutions do
        not count.
        """
        everything = len(self.chosen) == self.depth
        for site, tensor in self.held:
            convolution = any(part.startswith("conv") for part in site.role.split("."))
            norm = isinstance(site.owner, nn.LayerNorm) and not convolution
            if (everything and norm) if site.home is None else site.block in self.chosen:
                yield site, tensor

    def outside(self) -> Iterator[tuple[Site, str]]:
        """Yields every tensor that an encoder reads outside its blocks, as `pool` does.

        Raises:
            RecipeError: when only some blocks are chosen, or the network is no encoder.
        """
        if len(self.chosen) < self.depth:
            raise RecipeError("outside=True goes with all blocks, and only some are chosen; leave one out")
        found = [(site, tensor) for site, tensor in self.held if site.home is None]
        if not found:
            raise RecipeError(f"{self.family}: outside=True means an encoder, and this is none; leave it out")
        yield from found

    def __call__(self, *roles: str) -> Iterator[Site]:
        """Yields the sites of these roles; `conv` means every convolution of the stem.

        Raises:
            RecipeError: for a role that this network, or every chosen block, lacks.
        """
        for role in roles:
            self._known(role)
        found = [site for site in self.table if self._wanted(site, roles)]
        if roles and not found:
            raise RecipeError(
                f"{self.family}: the chosen blocks have none of the sites {', '.join(roles)}; "
                f"they have {', '.join(self._present())}"
            )
        yield from found

    def _wanted(self, site: Site, roles: tuple[str, ...]) -> bool:
        if site.block is None:
            return site.role in roles or site.role.partition(".")[0] in roles
        return site.role in roles and site.block in self.chosen

    def _present(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(site.role for site in self.table if site.block in self.chosen))

    def within(self, blocks: str) -> "Sites":
        """Returns the same sites limited to a range of blocks: `6:`, `-2:`, `3`, `0,2,5:8`, `encoder.*`."""
        return replace(self, chosen=select_blocks(blocks, self.depth, self.stacks))

    @property
    def roles(self) -> tuple[str, ...]:
        """Every role that this network has, in the order of the signal."""
        return tuple(dict.fromkeys(site.role for site in self.table))

    def _known(self, role: str) -> None:
        present = {*self.roles, *(name.partition(".")[0] for name in self.roles)}
        if role in present:
            return
        vocabulary = {*STEM_ROLES, *BLOCK_ROLES}
        if role.partition(".")[0] in vocabulary:
            raise RecipeError(f"{self.family} has no site '{role}'; it has {', '.join(self.roles)}")
        raise RecipeError(f"unknown site '{role}'{nearest(role, vocabulary)}")


class Mixing(nn.Module):
    """A trained module that looks across frames. Before each pass of its block it is told which frames are real."""

    real: Tensor | None = None  # (batch, time), None where all are

    def only_real(self, x: Tensor) -> Tensor:  # (batch, time, width)
        """Returns x with zeros on padded frames, as a clip alone would see beyond its end."""
        return x if self.real is None else x * self.real[..., None].to(x.dtype)


class Reframing(Mixing):
    """Other frames inside a block than outside: `enter` makes them, `leave` goes back, `along` does it to its masks."""

    def enter(self, x: Tensor) -> Tensor:  # (batch, time, width) → (batch, inner time, width)
        """Returns the frames that the block is given."""
        raise NotImplementedError

    def leave(self, y: Tensor, time: int) -> Tensor:  # (batch, inner time, width) → (batch, time, width)
        """Returns as many frames as there were outside."""
        raise NotImplementedError

    def along(self, values: Tensor, dim: int, new: float) -> Tensor:
        """Returns a mask or position bias for the inner frames along `dim`; a place that is new holds `new`."""
        raise NotImplementedError


class Prompts(Reframing):
    """Frames put before those of a block and taken off behind it; `behind` is given what the block made of them."""

    def forward(self, x: Tensor) -> Tensor:  # (batch, time, width) → (batch, prompts, width)
        """Returns the frames to put before x."""
        raise NotImplementedError

    def behind(self, prompts: Tensor) -> None:  # (batch, prompts, width)
        """Takes what came out at the prompts' places."""

    def enter(self, x: Tensor) -> Tensor:  # (batch, time, width) → (batch, prompts + time, width)
        """Returns x behind the prompts."""
        prompts: Tensor = self(x)
        self.length = prompts.shape[1]
        return torch.cat([prompts.to(x.dtype), x], 1)

    def leave(self, y: Tensor, time: int) -> Tensor:  # (batch, prompts + time, width) → (batch, time, width)
        """Returns y without the prompts."""
        self.behind(y[:, : self.length])
        return y[:, self.length :]

    def along(self, values: Tensor, dim: int, new: float) -> Tensor:
        """Returns the values behind `new` ones for the prompts."""
        shape = list(values.shape)
        shape[dim] = self.length
        return torch.cat([values.new_full(shape, new), values], dim)


class Side(nn.Module):
    """A trained module between the network and the head: takes all hidden states, gives those that the head reads.

    `width` is that of each state it gives, `count` how many there are.
    """

    def __init__(self, width: int, count: int) -> None:
        super().__init__()
        self.width, self.count = width, count

    def forward(
        self, states: list[Tensor], mask: Tensor | None
    ) -> list[Tensor]:  # depth + 1 times (batch, time, width), (batch, time)
        """Returns `count` states, each (batch, time, `width`)."""
        raise NotImplementedError


def beside_ffn(sites: Sites) -> Iterator[Site]:
    """Yields a site a block from the residual stream that enters the FFN, before any norm, to the FFN's output."""
    for norm, ffn in zip(sites("norm2"), sites("ffn"), strict=True):
        yield replace(ffn, entry=norm.entry) if sites.norms_first else ffn


@dataclass(frozen=True)
class Edit:
    """One change that a method plans: what to do (`verb`), where, and with which trained module."""

    verb: Literal["around", "on", "inside", "free", "before", "beside"]
    site: Site | None
    module: nn.Module | None
    tensor: str = ""


def around(site: Site, module: nn.Module) -> Edit:
    """Plans y ← module(x, y) at a site."""
    if site.place == "weights":
        raise RecipeError(
            f"the site '{site.name}' gives (batch, channels, time), and only its weight and bias can be edited; "
            "choose another place, such as 'ffn'"
        )
    if site.causal and isinstance(module, Mixing):
        raise RecipeError(
            f"{type(module).__name__} looks across frames, at '{site.name}' also at frames that are not spoken yet; "
            "choose other blocks, such as blocks='encoder.*'"
        )
    return Edit("around", site, module)


def on(site: Site, tensor: str, module: nn.Module) -> Edit:
    """Plans w ← module(w) for the `weight` or `bias` that a site's module owns."""
    if site.owner is None or getattr(site.owner, tensor, None) is None:
        raise RecipeError(f"the site '{site.name}' owns no {tensor}")
    return Edit("on", site, module, tensor)


def inside(site: Site, tensor: str, module: nn.Module) -> Edit:
    """Plans that some entries of a tensor which a site's module owns are trained in place."""
    return Edit("inside", site, module, tensor)


def before(site: Site, module: Reframing) -> Edit:
    """Plans other frames for a block, made at its `enter` and taken back behind it: prompts, or fewer frames."""
    if site.role != "enter":
        raise RecipeError(f"a block's frames are changed at its 'enter', not at '{site.name}'")
    return Edit("before", site, module)


def beside(module: Side) -> Edit:
    """Plans a module between the network and the head; alone, it needs no backward pass through the network."""
    return Edit("beside", None, module)


def free() -> Edit:
    """Plans that the backbone's own tensors are trained in place (full tuning, the baseline)."""
    return Edit("free", None, None)


def owned(site: Site, tensor: str) -> bool:
    """Returns whether a site's module owns that tensor (Whisper's k has no bias, for example)."""
    return site.owner is not None and getattr(site.owner, tensor, None) is not None


def in_order(sites: Sequence[Site]) -> tuple[Site, ...]:
    """Returns sites in the order of the signal: the stem first, then block by block."""
    return tuple(sorted(sites, key=lambda site: -1 if site.block is None else site.block))
