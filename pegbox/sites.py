"""Sites: the named places of a network where a method may act, and the verbs by which it says so.

The whole vocabulary::

    stem:   wave   conv.0 … conv.6   frames
    block:  enter  q  k  v  o  memory  attn  norm1  up  down  ffn  norm2  leave

A site sees the input x and the output y of a module (or of a span of modules). At `wave` and `enter`
x and y are both what goes in; at `memory` both are the pair (key, value), each (batch, heads, time, head width).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from torch import nn

from pegbox.errors import RecipeError, nearest

STEM_ROLES: Final = ("wave", "conv", "frames")
BLOCK_ROLES: Final = (*("enter", "q", "k", "v", "o", "memory", "attn", "norm1", "up", "down", "ffn", "norm2", "leave"),)
Place = Literal["output", "input", "memory"]


@dataclass(frozen=True)
class Site:
    """One place: x is what `entry` is given, y what `exit` returns, `owner` holds the weight and bias, if any."""

    role: str
    block: int | None
    entry: nn.Module
    exit: nn.Module
    place: Place
    owner: nn.Module | None
    input_width: int
    output_width: int

    @property
    def name(self) -> str:
        """`3.q` for a site of block 3, `conv.0` or `frames` for one of the stem."""
        return self.role if self.block is None else f"{self.block}.{self.role}"


@dataclass(frozen=True)
class Sites:
    """The sites of one network that a method may choose from; calling it selects by role, in the order of blocks."""

    family: str
    width: int
    depth: int
    table: tuple[Site, ...]
    chosen: tuple[int, ...]

    def __call__(self, *roles: str) -> Iterator[Site]:
        """Yields the sites of these roles; `conv` means every convolution of the stem."""
        for role in roles:
            self._known(role)
        for site in self.table:
            wanted = site.role in roles or (site.role.partition(".")[0] in roles and site.block is None)
            if wanted and (site.block is None or site.block in self.chosen):
                yield site

    def within(self, blocks: str) -> "Sites":
        """Returns the same sites limited to a range of blocks such as `6:`, `:4`, `-2:`, `3` or `0,2,5:8`."""
        return Sites(self.family, self.width, self.depth, self.table, select_blocks(blocks, self.depth))

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


def select_blocks(text: str, depth: int) -> tuple[int, ...]:
    """Returns the block numbers that a range such as `6:` or `0,2,-1` means in a network of `depth` blocks."""
    chosen: set[int] = set()
    for part in text.split(","):
        try:
            ends = [int(end) if end.strip() else None for end in part.split(":")]
        except ValueError:
            ends = []
        if len(ends) == 1 and ends[0] is not None and -depth <= ends[0] < depth:
            chosen.add(ends[0] % depth)
        elif len(ends) == 2:
            chosen.update(range(depth)[slice(*ends)])
        else:
            raise RecipeError(
                f"blocks={text!r}: '{part}' is no block or range of a network with blocks 0 to {depth - 1}; "
                "write '6:', ':4', '-2:', '3' or '0,2,5:8'"
            )
    if not chosen:
        raise RecipeError(f"blocks={text!r} selects none of the blocks 0 to {depth - 1}")
    return tuple(sorted(chosen))


@dataclass(frozen=True)
class Edit:
    """One change that a method plans: what to do (`verb`), where, and with which trained module."""

    verb: Literal["around", "on", "free"]
    site: Site | None
    module: nn.Module | None
    tensor: str = ""


def around(site: Site, module: nn.Module) -> Edit:
    """Plans y ← module(x, y) at a site."""
    return Edit("around", site, module)


def on(site: Site, tensor: str, module: nn.Module) -> Edit:
    """Plans w ← module(w) for the `weight` or `bias` that a site's module owns."""
    if site.owner is None or getattr(site.owner, tensor, None) is None:
        raise RecipeError(f"the site '{site.name}' owns no {tensor}")
    return Edit("on", site, module, tensor)


def free() -> Edit:
    """Plans that the backbone's own tensors are trained in place (full tuning, the baseline)."""
    return Edit("free", None, None)


def owned(site: Site, tensor: str) -> bool:
    """Returns whether a site's module owns that tensor (Whisper's k has no bias, for example)."""
    return site.owner is not None and getattr(site.owner, tensor, None) is not None


def in_order(sites: Sequence[Site]) -> tuple[Site, ...]:
    """Returns sites in the order of the signal: the stem first, then block by block."""
    return tuple(sorted(sites, key=lambda site: -1 if site.block is None else site.block))
