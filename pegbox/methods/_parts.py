"""Pieces that several methods share. Trained numbers are fp32 and act in the precision of what they meet."""

from collections.abc import Iterable, Iterator
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from pegbox.errors import RecipeError
from pegbox.sites import Edit, Site, Sites, on, owned


class Affine(nn.Linear):
    """A linear map kept in fp32 that computes in its input's precision."""

    def forward(self, x: Tensor) -> Tensor:  # (batch, time, in) → (batch, time, out)
        """Returns the map of x, in x's precision."""
        return F.linear(x, self.weight.to(x.dtype), None if self.bias is None else self.bias.to(x.dtype))


class Shift(nn.Module):
    """A trained difference to one of the network's own tensors, zero at the start."""

    def __init__(self, like: Tensor) -> None:
        super().__init__()
        self.difference = nn.Parameter(like.new_zeros(like.shape).float())

    def forward(self, tensor: Tensor) -> Tensor:  # (out,) or (out, in)
        """Returns the tensor with the difference added."""
        return tensor + self.difference.to(tensor.dtype)


def check_length(name: str, length: int, sites: Sites) -> None:
    """Refuses fewer prompts or keys than one, or more than the longest clip of the network has frames."""
    if length < 1:
        raise RecipeError(f"{name}: {length} prompts or keys; at least one")
    if sites.places is not None and length > sites.places:
        raise RecipeError(
            f"{name}: {length} prompts or keys; at most {sites.places}, as many as {sites.family} has positions"
        )


def check_scale(name: str, scale: float, option: str = "scale") -> None:
    """Refuses a factor of zero, behind which nothing has a gradient."""
    if scale == 0:
        raise RecipeError(f"{name}({option}=0): nothing would ever train; give another number")


def norm_in_fp32(norm: nn.Module, x: Tensor) -> Tensor:  # (batch, time, width)
    """Returns x normalised in fp32, in x's precision."""
    normed: Tensor = norm(x.float())
    return normed.to(x.dtype)


def draw(module: nn.Module, deviation: float) -> None:
    """Draws the weights of a module's linear maps from a normal distribution and zeroes their biases."""
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.normal_(part.weight, std=deviation)
            nn.init.zeros_(part.bias)


def slow_down(module: Any) -> None:
    """Lets all that a module trains learn at a tenth of its method's rate: what follows makes much of every step."""
    module.rates = {name: 0.1 for name, _ in module.named_parameters()}


def shift(site: Site, tensor: str) -> Edit:
    """Returns one trained difference to a tensor that a site's module has."""
    return on(site, tensor, Shift(getattr(site.owner, tensor)))


def shifts(sites: Iterable[Site], *tensors: str) -> Iterator[Edit]:
    """Yields one trained difference to each of these tensors that a site's module has."""
    for site in sites:
        for tensor in tensors:
            if owned(site, tensor):
                yield shift(site, tensor)
