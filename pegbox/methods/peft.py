"""A weight method of the `peft` library: OFT, BOFT, HRA, LoHa, LoKr, VeRA, FourierFT, SHiRA and others, at our sites.

A peft layer is built over a stand-in for each site's linear map and asked what it makes of the unit vectors: a layer
that is linear in its input answers with its weight. That weight is what the site's module then holds. One path serves
every type: no table of what each type's `get_delta_weight` means (added in some, multiplied in others). It acts
wherever a weight is read, also in WavLM's attention, does not depend on the number of frames, merges exactly, and is
taken off as any other edit of a tensor. The price is a matrix of the weight's size at each pass.

The delta holds what the type trains and nothing else. What is frozen in it (projections, places of numbers) is made
again from the options and the network's weights; types for which that cannot be are refused.
"""

import dataclasses
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pegbox.errors import RecipeError, nearest
from pegbox.methods._weights import linear
from pegbox.sites import Edit, Sites, on

_ADAPTER: Final = "default"
_BIAS: Final = "it changes the bias too, and only weights are edited here"
_SHARED: Final = "its trained numbers are shared by several sites"
_LOOP: Final = "it needs a loop of its own"
_WORKS: Final = (
    *("boft", "c3a", "deft", "delora", "fourierft", "gralora", "hira", "hra", "loha", "lokr", "lora", "miss", "oft"),
    *("peanut", "randlora", "shira", "supertuning", "vera", "waveft"),
)
_REFUSED: Final = {
    **dict.fromkeys(("adamss", "glora", "road"), _BIAS),
    "beft": f'{_BIAS}; Pegbox has \'bitfit(at=["q", "v"])\'',
    "ia3": f"{_BIAS}; Pegbox has 'ia3'",
    **dict.fromkeys(("tinylora", "unilora", "vblora"), _SHARED),
    **dict.fromkeys(("adalora", "osf"), _LOOP),
    **dict.fromkeys(("poly", "xlora"), "it mixes several adapters"),
    **dict.fromkeys(("prefix_tuning", "prompt_tuning", "p_tuning", "multitask_prompt_tuning"), "it wraps no layer"),
    **dict.fromkeys(("adaption_prompt", "cartridge", "cpt", "trainable_tokens", "shadow"), "it wraps no linear map"),
    **dict.fromkeys(("lily", "pvera"), "it is not one weight for all frames"),
    **dict.fromkeys(("frod", "psoft"), "it starts from a decomposition that differs between machines"),
    "ln_tuning": "Pegbox has 'layernorm'",
}
_NOT_OPTIONS: Final = frozenset(  # what would reach beyond the sites, or is decided here
    {
        *("target_modules", "exclude_modules", "modules_to_save", "layers_to_transform", "layers_pattern"),
        *("target_parameters", "trainable_token_indices", "layer_replication", "bias", "lora_bias"),
        *("save_projection", "fan_in_fan_out", "ephemeral_gpu_offload", "runtime_config"),
    }
)
_SEEDED: Final = {"shira": {"random_seed": 0}}  # places that peft would draw anew at each start


@dataclass(frozen=True)
class Peft:
    """Gives the weights at the linear sites `at` to a type of peft's; `options` are those of its configuration class.

    The start is that of the type: identity to rounding for most, not for `fourierft`.
    """

    type: str = "oft"
    at: tuple[str, ...] = ("q", "v")
    options: dict[str, int | float | str | bool] = field(default_factory=dict)

    learning_rate: ClassVar[float] = 1e-3

    def plan(self, sites: Sites) -> Iterator[Edit]:
        """Yields one edited weight a site."""
        chosen = [(site, linear("peft", site, sites)) for site in sites(*self.at)]
        for (site, _), layer in zip(chosen, self._layers([owner for _, owner in chosen]), strict=True):
            yield on(site, "weight", Answer(layer))

    def _layers(self, owners: list[nn.Linear]) -> list[Any]:
        library = _library(self.type)
        config = self._config(library)
        toy = nn.ModuleDict({str(index): StandIn(owner) for index, owner in enumerate(owners)})
        before = [_identity(each) for each in toy.values()]
        config.target_modules = list(toy)
        with torch.device("cpu"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # peft's hints on saving and on its own seeds
            model = self._refusing(lambda: library.get_peft_model(toy, config, adapter_name=_ADAPTER))
        layers: list[Any] = [model.base_model.model[name] for name in toy]
        if before != [_identity(layer.get_base_layer()) for layer in layers]:
            raise RecipeError(f"peft: '{self.type}' with {self.options} changes the network's own weights at the start")
        if any(isinstance(part, nn.Dropout) and part.p > 0 for layer in layers for part in layer.modules()):
            raise RecipeError(
                f"peft: '{self.type}' with {self.options} drops inputs, and a weight sees none; leave dropout at 0"
            )
        return layers

    def _config(self, library: Any) -> Any:
        kind = library.PEFT_TYPE_TO_CONFIG_MAPPING[self.type.upper()]
        common = {each.name for each in dataclasses.fields(library.PeftConfig)}
        known = {each.name for each in dataclasses.fields(kind) if each.init} - common - _NOT_OPTIONS
        for name in self.options:
            if name not in known:
                raise RecipeError(f"peft: '{self.type}' has no option '{name}' here{nearest(name, known)}")
        given = _SEEDED.get(self.type, {}) | self.options
        return self._refusing(lambda: kind(**given))

    def _refusing(self, make: Callable[[], Any]) -> Any:
        try:
            return make()
        except (ValueError, TypeError, KeyError, RuntimeError, AssertionError, NotImplementedError) as problem:
            first = str(problem).strip().partition("\n")[0]
            raise RecipeError(f"peft: '{self.type}' with {self.options} is refused by peft: {first}") from problem


class StandIn(nn.Linear):
    """A linear map without bias, whose weight is whatever it was handed last; of unit vectors it gives that weight."""

    def __init__(self, like: nn.Linear) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = like.in_features, like.out_features
        self.units: Tensor | None = None
        weight = like.weight.detach()
        held = torch.zeros(1, device="cpu").expand(weight.shape) if weight.is_meta else weight.float().cpu()
        self.weight = nn.Parameter(held, requires_grad=False)
        self.register_parameter("bias", None)

    def hand(self, weight: Tensor, units: Tensor) -> None:
        """Takes the weight of this pass; it is no parameter, whoever owns it trains it."""
        self._parameters.pop("weight", None)
        self.__dict__["weight"], self.units = weight, units

    def forward(self, x: Tensor) -> Tensor:  # (rows, in) → (rows, out)
        """Returns the map of x."""
        return self.weight.T.clone() if x is self.units else F.linear(x, self.weight)


class Answer(nn.Module):
    """The weight that a peft layer makes of a weight. What it trains is registered here, the layer itself is not."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.hidden = (layer,)  # in a tuple: its frozen numbers are no part of a delta
        trained = {name: tensor for name, tensor in layer.named_parameters() if tensor.requires_grad}
        self.numbers = nn.ParameterDict(
            {name.replace(f".{_ADAPTER}", "").replace(".", "/"): tensor for name, tensor in trained.items()}
        )
        del layer.get_base_layer().weight  # no weight of the network is held between passes

    def train(self, mode: bool = True) -> "Answer":
        """Sets the layer's mode with this one's: some types drop parts of what they train."""
        self.hidden[0].train(mode)
        return super().train(mode)

    def forward(self, weight: Tensor) -> Tensor:  # (out, in)
        """Returns the layer's map of the unit vectors, in fp32, as a weight."""
        layer = self.hidden[0]
        base = layer.get_base_layer()
        units = torch.eye(weight.shape[1], device=weight.device)
        with torch.autocast(weight.device.type, enabled=False):
            base.hand(weight.float(), units)
            made: Tensor = layer(units)
        base.hand(units, units)
        return made.T.contiguous().to(weight.dtype)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Answer":
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.hidden[0]._apply(fn, recurse)
        return self


def _library(kind: str) -> Any:
    if kind not in _WORKS:
        why = f": {_REFUSED[kind]}" if kind in _REFUSED else nearest(kind, _WORKS)
        raise RecipeError(f"peft: the type '{kind}' cannot be used{why}")
    try:
        import peft as library
    except ImportError as problem:
        raise RecipeError(f"peft: the library is not installed ({problem}); pip install 'pegbox[peft]'") from None
    if kind.upper() not in library.PEFT_TYPE_TO_CONFIG_MAPPING:
        raise RecipeError(f"peft: peft {library.__version__} has no type '{kind}'; take a newer one")
    return library


def _identity(layer: Any) -> tuple[int, int]:
    return layer.weight.data_ptr(), layer.weight._version
