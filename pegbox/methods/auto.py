"""Auto: methods, sizes and rates within a budget compete, by successive halving (arXiv:1502.07943)."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from pegbox.errors import RecipeError
from pegbox.recipe import Search
from pegbox.sites import Edit, Sites

# Kinds of methods, each from its largest form to its smallest: the first that fits the budget competes.
_KINDS: Final = (
    tuple(f"lora(rank={rank})" for rank in (64, 32, 16, 8, 4, 2, 1)),
    tuple(f"bottleneck(size={size})" for size in (256, 128, 64, 32, 16, 8, 4, 2, 1)),
    tuple(f"parallel(size={size})" for size in (256, 128, 64, 32, 16, 8, 4, 2, 1)),
    tuple(f"child(keep={share})" for share in (0.1, 0.03, 0.01, 0.003, 0.001, 0.0003, 0.0001)),
    ("bitfit",),
    ("adapter_bias",),
    ("weighted_sum",),
)
_CLIPS: Final = 256
_ENTRY_BYTES: Final = 4  # of a trained number in an artefact


@dataclass(frozen=True)
class Auto:
    """Tries the largest form of each kind of method that trains at most `budget` of the backbone's numbers.

    `kilobytes` above 0 limits the method's part of the artefact as well. `rates` are multiples of each method's own
    learning rate, candidates of their own: rates matter more than methods. Half of the candidates go at each rung.
    They are judged by their loss on the validation split, since few clips give many candidates the same score, and at
    a rung on at most so many `clips` of it, 0 for all, since looking at many candidates takes time. `minutes` above 0
    is the time that all of it may take, competing and training the winner to its end. `values` as of `child`.
    """

    budget: float = 0.005
    kilobytes: float = 0.0
    rates: tuple[float, ...] = (1.0, 3.0)
    rungs: tuple[float, ...] = (0.05, 0.12, 0.3)
    observe: Literal["dev", "dev_loss", "loss"] = "dev_loss"
    clips: int = _CLIPS
    minutes: float = 0.0
    values: Literal["single", "half"] = "single"
    sizes: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.budget <= 1 or self.kilobytes < 0 or not 0 <= self.minutes < math.inf:
            raise RecipeError(
                f"auto(budget={self.budget}, kilobytes={self.kilobytes}, minutes={self.minutes}): the budget is a "
                "share of the backbone, from 0 to 1; kilobytes and minutes are not negative, 0 means no limit"
            )

        if self.sizes < 1:
            raise RecipeError(f"auto(sizes={self.sizes}): at least the largest form of each kind competes")
        if self.clips < 0:
            raise RecipeError(f"auto(clips={self.clips}): a number of validation clips, or 0 for all")
        if self.observe == "loss" and self.clips not in (0, _CLIPS):
            raise RecipeError(
                f'auto(clips={self.clips}, observe="loss"): that looks at no validation clip; leave it out'
            )

    def plan(self, sites: Sites) -> Iterator[Edit]:
        """Refuses: what competes is trained by recipes alone."""
        raise RecipeError("auto is a search over methods; use it in a recipe, with pegbox.train")

    def search(self, sites: Sites, size: Callable[[str], int], whole: int) -> Search:
        """Returns the competition of all kinds in the largest form that fits."""
        most = self.budget * whole
        if self.kilobytes:
            most = min(most, self.kilobytes * 1000 / _ENTRY_BYTES)
        found = (spec for forms in _KINDS for spec in _fitting(forms, size, most, self.sizes))
        specs = tuple(self._valued(spec) for spec in found)
        clips = 0 if self.observe == "loss" else self.clips
        return Search(specs, self.rungs, self.observe, self.rates, self.minutes, clips)

    def _valued(self, spec: str) -> str:
        if self.values == "half" and spec.startswith("child("):
            return spec.removesuffix(")") + ', values="half")'
        return spec


def _fitting(forms: tuple[str, ...], size: Callable[[str], int], most: float, sizes: int) -> Iterator[str]:
    """Yields the first of these that fits and that this network can carry (it may be too narrow), then up to `sizes`
    in all, each with at most a fourth of what the one before it trains."""
    for spec in forms:
        try:
            trained = size(spec)
        except RecipeError:
            continue
        if trained <= most and sizes:
            yield spec
            most, sizes = trained / 4, sizes - 1
