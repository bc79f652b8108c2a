"""A backbone as a fold: stem → block → … → norm, over networks of `transformers`, with its sites and its digest."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from hashlib import blake2b
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from pegbox.backbones._family import (
    DTYPES,
    Entry,
    Family,
    Front,
    Memory,
    Part,
    Precision,
    Span,
    State,
    Weights,
    Where,
    among,
)
from pegbox.backbones._held import held
from pegbox.backbones._synthesis import Synthesis
from pegbox.errors import CorpusError, RecipeError
from pegbox.sites import Place, Site, Sites

Table = Family | Synthesis
T = TypeVar("T", bound=Family | Synthesis)


class Backbone(nn.Module):
    """A frozen pretrained network with named sites. Made by `load` or, without weights, by `outline`."""

    def __init__(self, family: Family, core: nn.Module, front: Front, source: str, precision: Precision) -> None:
        super().__init__()
        self.family, self.source, self.precision = family, source, precision
        self.rate = front.rate
        self.front_settings = front
        self.core = core.eval().requires_grad_(False)
        self.front = family.front(front, core.config)
        self._undo = family.ready(core)
        self.digest = "" if _on_meta(core) else digest(core, front, family.unread)
        for block in self.blocks:
            block.to(DTYPES[precision])

    @property
    def config(self) -> Any:
        """The network's own configuration."""
        return self.core.config

    @property
    def blocks(self) -> nn.ModuleList:
        """The list of transformer blocks."""
        return self.core.get_submodule(self.family.blocks)  # type: ignore[return-value]

    @property
    def width(self) -> int:
        """The width of a hidden state."""
        return int(self.config.hidden_size)

    @property
    def depth(self) -> int:
        """The number of blocks."""
        return len(self.blocks)

    @property
    def hop(self) -> int | None:
        """Samples a frame, or None where the states are no time axis (AST's patches)."""
        return self.family.hop(self.config)

    def frames(self, samples: int) -> int:
        """Returns how many frames a clip of that many samples has."""
        return self.family.frames(self.config, samples)

    def fits(self, samples: int, name: str) -> None:
        """Refuses a clip shorter than the receptive field or longer than the positional table."""
        low, high = self.family.shortest(self.config), self.family.longest(self.config)
        if samples < low:
            raise CorpusError(
                f"{name}: {samples} samples at {self.rate} Hz; {self.family.name} needs at least {low} "
                "(its receptive field); drop or pad the clip"
            )
        if high is not None and samples > high:
            raise CorpusError(
                f"{name}: {samples / self.rate:.2f} s; {self.family.name} takes at most {high / self.rate:.2f} s "
                "(its positional table); cut the clip by start and end"
            )

    def fingerprint(self) -> str:
        """Returns the identity of the weights as they are now, in the precision in which they are held."""
        return digest(self.core, self.front_settings)

    def sites(self) -> Sites:
        """Returns every site of this network."""
        return find_sites(self.family, self.core, self.front)

    def spectrogram(self, samples: int) -> tuple[int, int] | None:
        """Returns frames and bands of a clip's spectrogram, None where the network is given none of fixed size."""
        fixed = self.family.spectrogram(self.config)
        return fixed and (min(self.family.windows(samples), fixed[0]), fixed[1])

    def stem(self, wave: Tensor, lengths: Tensor, hidden: Tensor | None = None) -> State:  # (batch, samples), (batch,)
        """Returns the state that enters the first block; padded samples beyond `lengths` do not matter.

        `hidden`, (batch, 4), is silent where the network is given a spectrogram of fixed size: the first band of each
        clip and the one behind the last, and frames likewise.
        """
        if self.family.convolve is not None:
            return self.enter(*self.convolve(wave, lengths, hidden))
        return self.enter(self._given(wave, lengths, hidden), lengths)

    def convolve(
        self, wave: Tensor, lengths: Tensor, hidden: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:  # (batch, samples), (batch,)
        """Returns what a convolution front-end makes of clips, (batch, time, channels), and each clip's own frames."""
        assert self.family.convolve is not None
        return self.family.convolve(self.core, self._given(wave, lengths, hidden), lengths)

    def enter(self, x: Tensor, lengths: Tensor) -> State:  # what the core is given, or what `convolve` returns
        """Returns the state that enters the first block."""
        state = self.family.enter(self.core, x, lengths)
        return replace(state, x=state.x.to(DTYPES[self.precision]))

    def _given(self, wave: Tensor, lengths: Tensor, hidden: Tensor | None = None) -> Tensor:
        for row, length in enumerate(lengths.tolist()):
            self.fits(length, f"clip {row} of the batch")
        given: Tensor = self.front(wave, lengths) if hidden is None else self.front(wave, lengths, hidden)
        return given

    def resume(self, x: Tensor, mask: Tensor | None) -> State:  # (batch, time, width), (batch, time)
        """Returns the full state for hidden frames computed earlier, at any depth."""
        return State(x, mask, self.family.carry(self.core, x.shape[1]))

    def step(self, index: int, state: State) -> State:
        """Returns the state behind one block."""
        return self.family.step(self.blocks[index], state)

    def fold(self, state: State, start: int = 0, step: Callable[[int, State], State] | None = None) -> Iterator[Tensor]:
        """Yields the hidden states from depth `start` on, in the SUPERB order: depth + 1 of them from 0.

        `step` stands for the method of that name: whoever trains the network may pass through a block otherwise.
        """
        for index in range(start, self.depth):
            yield state.x
            state = (step or self.step)(index, state)
        yield self.family.norm(self.core, state.x.float())  # the final norm is kept in fp32

    def forward(self, wave: Tensor, lengths: Tensor) -> list[Tensor]:  # (batch, samples), (batch,)
        """Returns all hidden states, each (batch, time, width)."""
        return list(self.fold(self.stem(wave, lengths)))


def locate(model: nn.Module, tables: Mapping[str, T]) -> tuple[T, nn.Module]:
    """Returns the table and the core network inside a caller's `transformers` model."""
    by_core = {core: table for table in tables.values() for core in table.cores}
    for module in model.modules():
        if type(module).__name__ in by_core:
            return by_core[type(module).__name__], module
    raise RecipeError(f"{type(model).__name__} holds no network that Pegbox knows; known: {', '.join(sorted(by_core))}")


def find_sites(table: Table, core: nn.Module, front: nn.Module | None) -> Sites:
    """Returns the sites of a core network; `front` is Pegbox's own input module, where there is one."""
    found = _in_blocks(table, core)
    if isinstance(table, Synthesis):
        return found
    config: Any = core.config
    longest = table.longest(config)
    return replace(
        found,
        table=(*_in_stem(table, core, front, found.width), *found.table),
        spectrogram=table.spectrogram(config),
        places=None if longest is None else table.frames(config, longest),
        projection=core.get_submodule(table.projection) if table.projection else None,
    )


def _in_stem(family: Family, core: nn.Module, front: nn.Module | None, width: int) -> Iterator[Site]:
    if not family.front_is_wave and front is not None:
        yield _site(front, Entry(""), "wave", None, 1)
    for role, where in family.stem_roles(core).items():
        yield _site(core, where, role, None, width)


def _in_blocks(table: Table, core: nn.Module) -> Sites:
    config: Any = core.config
    width = int(config.hidden_size)
    sites: list[Site] = []
    stacks: dict[str, range] = {}
    depth = 0
    for stack in table.stacks:
        blocks = list(core.get_submodule(stack.blocks).children())
        for number, block in enumerate(blocks):
            own = [_site(block, where, role, depth + number, width) for role, where in stack.roles.items()]
            sites += [replace(site, label=stack.label(number), causal=stack.causal) for site in own]
        stacks |= {stack.name: range(depth, depth + len(blocks))} if stack.name else {}
        depth += len(blocks)
    return Sites(
        table.name,
        width,
        depth,
        tuple(sites),
        tuple(range(depth)),
        norms_first=table.norms_first(config),
        held=tuple(held(table, core)),
        stacks=stacks,
    )


def digest(core: nn.Module, front: Front, unread: tuple[str, ...] = ()) -> str:
    """Returns the identity of weights and input settings, independent of the stored precision."""
    hasher = blake2b(digest_size=16)
    for name, tensor in sorted(core.state_dict().items()):
        if among(name, unread):  # drawn anew at each load where a checkpoint lacks it
            continue
        hasher.update(f"{name}{tuple(tensor.shape)}".encode())
        hasher.update(tensor.detach().to("cpu", torch.float32).contiguous().numpy().data)
    hasher.update(json.dumps([front.rate, dict(front.settings)], sort_keys=True, default=str).encode())
    return hasher.hexdigest()


def _site(root: nn.Module, where: Where, role: str, block: int | None, width: int) -> Site:
    place: Place = "output"
    owner: nn.Module | None = None
    match where:
        case Span(entry, leave):
            first, last = root.get_submodule(entry), root.get_submodule(leave)
        case Part(module, inner):
            first = last = root.get_submodule(module)
            owner = root.get_submodule(inner)
        case Entry(module) | Memory(module):
            first = last = root.get_submodule(module)
            place = "input" if isinstance(where, Entry) else "memory"
        case Weights(module):
            first = last = owner = root.get_submodule(module)
            place = "weights"
        case str(path):
            first = last = root.get_submodule(path)
            owner = first if isinstance(getattr(first, "weight", None), Tensor) else None
    return Site(role, block, first, last, place, owner, *_widths(owner, width), root)


def _widths(owner: nn.Module | None, width: int) -> tuple[int, int]:
    match owner:
        case nn.Linear():
            return owner.in_features, owner.out_features
        case nn.Conv1d() | nn.Conv2d():
            return owner.in_channels, owner.out_channels
    return width, width


def _on_meta(core: nn.Module) -> bool:
    return any(tensor.is_meta for tensor in core.parameters())
