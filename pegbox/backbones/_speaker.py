"""A synthesis network as recipes train it: its sites, its digest, its own loss and its voice."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from pegbox.backbones import _load
from pegbox.backbones._family import Front, Precision
from pegbox.backbones._fold import digest, find_sites, locate
from pegbox.backbones._synthesis import Spoken, Synthesis, Taught, Voice
from pegbox.errors import CorpusError, RecipeError
from pegbox.sites import Sites


class Speaker(nn.Module):
    """A frozen pretrained synthesis network with named sites. Made by `load_speaker` or `outline_speaker`."""

    precision: Precision = "fp32"

    def __init__(self, family: Synthesis, core: nn.Module, front: Front, source: str) -> None:
        super().__init__()
        if family.lessons is None:
            raise RecipeError(
                f"{source}: {family.name} is a synthesis network that no task trains; load it with transformers and "
                "use pegbox.attach in a loop of your own"
            )
        self.family, self.lessons, self.source = family, family.lessons, source
        self.analysis, self.front_settings = family.lessons.analysis(core.config, front, source), front
        self.core = core.eval().requires_grad_(False)
        self._undo = family.ready(core)
        self.digest = "" if any(tensor.is_meta for tensor in core.parameters()) else digest(core, front)

    @property
    def config(self) -> Any:
        """The network's own configuration."""
        return self.core.config

    @property
    def width(self) -> int:
        """The width of a hidden state."""
        return int(self.config.hidden_size)

    @property
    def depth(self) -> int:
        """The number of blocks of all stacks."""
        lists = (self.core.get_submodule(stack.blocks) for stack in self.family.stacks)
        return sum(1 for blocks in lists for _ in blocks.children())  # no weight is looked at: a method may make it

    @property
    def rate(self) -> int:
        """Samples a second."""
        return self.analysis.rate

    @property
    def hop(self) -> int:
        """Samples a Mel frame."""
        return self.analysis.hop

    @property
    def voices(self) -> int:
        """How many voices the network tells apart."""
        return self.lessons.voices(self.config)

    def frames(self, samples: int) -> int:
        """Returns how many Mel frames a clip of that many samples has."""
        return self.analysis.frames(samples)

    def fits(self, samples: int, name: str) -> None:
        """Refuses a clip that is shorter than a frame, or longer than the network can speak."""
        most = self.lessons.longest(self.config)[1]
        if samples < self.hop:
            raise CorpusError(f"{name}: {samples} samples at {self.rate} Hz are no Mel frame of {self.hop}; drop it")
        if self.frames(samples) > most:
            raise CorpusError(f"{name}: {self.frames(samples)} Mel frames; the network can speak {most:g}; cut it")

    def fingerprint(self) -> str:
        """Returns the identity of the weights as they are now."""
        return digest(self.core, self.front_settings)

    def sites(self) -> Sites:
        """Returns every site of this network."""
        return find_sites(self.family, self.core, None)

    def loss(self, taught: Taught) -> Tensor:
        """Returns the network's own loss of a batch, a scalar."""
        return self.lessons.loss(self.core, taught)

    @torch.no_grad()
    def speak(self, units: Tensor, voice: Voice) -> Spoken:  # (units,)
        """Returns what the network says of one text, always the same of the same."""
        with self.steady():
            return self.lessons.speak(self.core, units, voice)

    @torch.no_grad()
    def draft(self, taught: Taught) -> Tensor:  # → (time, bands)
        """Returns the Mel frames that the network makes of one clip when told the recording's own before each."""
        assert self.lessons.draft is not None
        with self.steady():
            return self.lessons.draft(self.core, taught)

    @contextmanager
    def steady(self) -> Iterator[None]:
        """Whatever the network draws inside is the same at every time, and changes no other draw."""
        device = next(self.core.parameters()).device
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(0)
            yield


def load_speaker(source: str, precision: Precision = "fp32") -> Speaker:
    """Loads a synthesis network from a hub id, a local folder, or the name of a shipped checkpoint.

    Raises:
        RecipeError: when it is an encoder, a network that no task trains, or wanted in half precision.
        WeightsError: when there is no such checkpoint, or it lacks tensors or its symbols and scales.
    """
    if precision != "fp32":
        raise RecipeError(f'{source}: synthesis trains in fp32 only; leave precision = "fp32"')
    table, model = _load.load_synthesis(source)
    return Speaker(table, locate(model, {table.name: table})[1], _load.front(source), source)


def outline_speaker(source: str) -> Speaker:
    """Returns the network without weights, on the meta device: shapes, sites and counts only."""
    table, core, _ = _load.bare_outline(source)
    if not isinstance(table, Synthesis):
        raise RecipeError(f"{source}: {table.name} is an encoder: it reads sound and cannot speak; choose another task")
    return Speaker(table, core, _load.front(source), source)
