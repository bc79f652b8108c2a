"""A backbone as a fold: stem → block → … → norm, over networks of `transformers`.

A family file is a table: where the parts are, how the first state is made, what its lengths are.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, Literal

import torch
import transformers
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers.utils import logging as hf_logging

from pegbox.errors import CorpusError, RecipeError, WeightsError, nearest
from pegbox.sites import Site, Sites

Undo = Callable[[], None]
Precision = Literal["fp32", "bf16"]
_DTYPES: Final = {"fp32": torch.float32, "bf16": torch.bfloat16}


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


Where = str | Span | Part | Entry | Memory


@dataclass(frozen=True)
class Front:
    """The settings of a network's input, from its `preprocessor_config.json`."""

    rate: int
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Family:
    """One kind of network. Functions take the core network first; lengths are in samples on the CPU."""

    name: str
    model_types: tuple[str, ...]
    network: str  # class of transformers that loads the checkpoint
    inside: str  # path from that class to the core, '' for itself
    cores: tuple[str, ...]  # class names by which a core is recognised inside a caller's model
    blocks: str  # path to the list of blocks
    roles: Mapping[str, Where]  # block sites: role → path inside a block
    stem_roles: Callable[[nn.Module], Mapping[str, Where]]  # stem sites: role → path inside the core
    front: Callable[[Front, Any], nn.Module]  # makes the module from wave to what the core eats
    enter: Callable[[nn.Module, Tensor, Tensor], State]  # core, (batch, samples or …), lengths → first state
    carry: Callable[[nn.Module, int], Tensor | None]  # what State.carry is at `time` frames
    step: Callable[[nn.Module, State], State]  # a block, state → state
    norm: Callable[[nn.Module, Tensor], Tensor]  # after the last block
    frames: Callable[[Any, int], int]  # config, samples → frames
    hop: Callable[[Any], int | None]  # samples a frame; None where frames are no time axis
    shortest: Callable[[Any], int]  # samples a clip must have
    longest: Callable[[Any], int | None]  # samples a clip may have
    ready: Callable[[nn.Module], Undo]  # makes every site real on the core; returns how to undo it
    unused: tuple[str, ...] = ()  # tensors that full tuning leaves alone
    fixed: tuple[str, ...] = ()  # those of them that the fold reads all the same: a table of sines
    front_is_wave: bool = True  # whether the core itself is given the waveform
    padding: str = ""  # the rule, in words

    @property
    def unread(self) -> tuple[str, ...]:
        """The tensors that take no part in the fold."""
        return tuple(name for name in self.unused if name not in self.fixed)


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
            block.to(_DTYPES[precision])

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

    def sites(self) -> Sites:
        """Returns every site of this network."""
        return find_sites(self.family, self.core, self.front)

    def stem(self, wave: Tensor, lengths: Tensor) -> State:  # (batch, samples), (batch,)
        """Returns the state that enters the first block; padded samples beyond `lengths` do not matter."""
        for row, length in enumerate(lengths.tolist()):
            self.fits(length, f"clip {row} of the batch")
        state = self.family.enter(self.core, self.front(wave, lengths), lengths)
        return replace(state, x=state.x.to(_DTYPES[self.precision]))

    def resume(self, x: Tensor, mask: Tensor | None) -> State:  # (batch, time, width), (batch, time)
        """Returns the full state for hidden frames computed earlier, at any depth."""
        return State(x, mask, self.family.carry(self.core, x.shape[1]))

    def fold(self, state: State, start: int = 0) -> Iterator[Tensor]:
        """Yields the hidden states from depth `start` on, in the SUPERB order: depth + 1 of them from 0."""
        for index in range(start, self.depth):
            yield state.x
            state = self.family.step(self.blocks[index], state)
        yield self.family.norm(self.core, state.x)

    def forward(self, wave: Tensor, lengths: Tensor) -> list[Tensor]:  # (batch, samples), (batch,)
        """Returns all hidden states, each (batch, time, width)."""
        return list(self.fold(self.stem(wave, lengths)))


def load(source: str, precision: Precision = "fp32") -> Backbone:
    """Loads a hub id or a local folder; the family is found from its configuration.

    Raises:
        WeightsError: when there is no such checkpoint, or it lacks tensors of the network.
    """
    with _quiet():
        config, front, family = _read(source)
        model, report = _from_pretrained(source, config, family)
    inside = f"{family.inside}." if family.inside else ""
    missing = [
        name.removeprefix(inside)
        for name in (*report["missing_keys"], *(str(key) for key in report["mismatched_keys"]))
        if name.startswith(inside) and name.removeprefix(inside) not in family.unread
    ]
    if missing:
        raise WeightsError(
            f"{source}: {len(missing)} tensors of {family.name} are not in the checkpoint: {missing[:4]}"
        )
    return Backbone(family, model.get_submodule(family.inside), front, source, precision)


def outline(source: str) -> Backbone:
    """Returns the backbone without weights, on the meta device: shapes, sites and counts only."""
    with _quiet():
        config, front, family = _read(source)
    return from_config(config, front, source, device="meta", family=family)


def from_config(
    config: Any, front: Front, source: str = "", *, device: str = "cpu", precision: Precision = "fp32", family: Family
) -> Backbone:
    """Returns a randomly initialised backbone of that configuration."""
    network = getattr(transformers, family.network)
    config._attn_implementation = _kernel(network)
    with torch.device(device):
        model = network(config)
        return Backbone(family, model.get_submodule(family.inside), front, source, precision)


def locate(model: nn.Module, families: Mapping[str, Family]) -> tuple[Family, nn.Module]:
    """Returns the family and the core network inside a caller's `transformers` model."""
    by_core = {core: family for family in families.values() for core in family.cores}
    for module in model.modules():
        if type(module).__name__ in by_core:
            return by_core[type(module).__name__], module
    raise RecipeError(f"{type(model).__name__} holds no network that Pegbox knows; known: {', '.join(sorted(by_core))}")


def find_sites(family: Family, core: nn.Module, front: nn.Module | None) -> Sites:
    """Returns the sites of a core network; `front` is Pegbox's own input module, where there is one."""
    blocks = core.get_submodule(family.blocks)
    table = []
    if not family.front_is_wave and front is not None:
        table.append(_site(front, Entry(""), "wave", None, 1))
    config: Any = core.config
    width = int(config.hidden_size)
    table += [_site(core, where, role, None, width) for role, where in family.stem_roles(core).items()]
    for index, block in enumerate(blocks.children()):
        table += [_site(block, where, role, index, width) for role, where in family.roles.items()]
    depth = len(list(blocks.children()))
    return Sites(family.name, width, depth, tuple(table), tuple(range(depth)))


def always_real(core: nn.Module) -> Undo:
    """Every site of this family is real as the library has it; nothing to do and nothing to undo."""
    return lambda: None


def digest(core: nn.Module, front: Front, unread: tuple[str, ...] = ()) -> str:
    """Returns the identity of weights and input settings, independent of the stored precision."""
    hasher = blake2b(digest_size=16)
    for name, tensor in sorted(core.state_dict().items()):
        if name in unread:  # drawn anew at each load where a checkpoint lacks it
            continue
        hasher.update(f"{name}{tuple(tensor.shape)}".encode())
        hasher.update(tensor.detach().to("cpu", torch.float32).contiguous().numpy().data)
    hasher.update(json.dumps([front.rate, dict(front.settings)], sort_keys=True, default=str).encode())
    return hasher.hexdigest()


def _site(root: nn.Module, where: Where, role: str, block: int | None, width: int) -> Site:
    place: Literal["output", "input", "memory"] = "output"
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
        case str(path):
            first = last = root.get_submodule(path)
            owner = first if isinstance(getattr(first, "weight", None), Tensor) else None
    return Site(role, block, first, last, place, owner, *_widths(owner, width))


def _widths(owner: nn.Module | None, width: int) -> tuple[int, int]:
    match owner:
        case nn.Linear():
            return owner.in_features, owner.out_features
        case nn.Conv1d() | nn.Conv2d():
            return owner.in_channels, owner.out_channels
    return width, width


def _kernel(network: Any) -> str:
    return "sdpa" if network._supports_sdpa else "eager"  # WavLM's is Pegbox's own, and fused all the same


def _from_pretrained(source: str, config: Any, family: Family) -> tuple[Any, dict[str, Any]]:
    network = getattr(transformers, family.network)
    try:
        model, report = network.from_pretrained(
            source, config=config, dtype=torch.float32, attn_implementation=_kernel(network), output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as problem:
        raise WeightsError(f"{source}: the weights cannot be loaded: {_first_line(problem)}") from problem
    return model, report


@contextmanager
def _quiet() -> Iterator[None]:
    """Silences the library's load report: Pegbox checks the missing tensors itself."""
    level, bar = hf_logging.get_verbosity(), hf_logging.is_progress_bar_enabled()
    hf_logging.set_verbosity_error()
    hf_logging.disable_progress_bar()
    try:
        yield
    finally:
        hf_logging.set_verbosity(level)
        if bar:
            hf_logging.enable_progress_bar()


def _read(source: str) -> tuple[Any, Front, Family]:
    from pegbox.backbones import families

    folder = Path(source)
    if (folder.exists() or source.startswith((".", "/", "~"))) and not (folder / "config.json").is_file():
        raise WeightsError(f"{source}: no config.json in this folder; a backbone is a hub id or a transformers folder")
    try:
        config = transformers.AutoConfig.from_pretrained(source)
    except (OSError, ValueError) as problem:
        raise WeightsError(f"{source}: no backbone can be read here: {_first_line(problem)}") from problem
    known = {kind: family for family in families().values() for kind in family.model_types}
    if config.model_type not in known:
        raise WeightsError(f"{source}: a network of type '{config.model_type}'{nearest(config.model_type, known)}")
    return config, _front(source), known[config.model_type]


def _front(source: str) -> Front:
    try:
        settings, _ = transformers.FeatureExtractionMixin.get_feature_extractor_dict(source)
    except OSError:
        settings = {}
    return Front(int(settings.get("sampling_rate", 16_000)), settings)


def _first_line(problem: Exception) -> str:
    return str(problem).strip().partition("\n")[0]


def _on_meta(core: nn.Module) -> bool:
    return any(tensor.is_meta for tensor in core.parameters())
