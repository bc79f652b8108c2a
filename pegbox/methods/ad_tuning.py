"""AD-TUNING: child networks of several sizes compete, the best goes on (doi:10.21437/Interspeech.2023-1167).

One measurement of Fisher information serves all; smaller children lie within larger ones.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from pegbox.errors import RecipeError
from pegbox.recipe import Search
from pegbox.sites import Edit, Sites


@dataclass(frozen=True)
class ADTuning:
    """Candidates keep these shares of the blocks' and norms' entries; all but the best are dropped at a rung.

    `strive`: the share of training that the competition takes. `batches`: how many the Fisher information comes from,
    0 for one whole pass as published. `stable`, `threshold`, `clip` and `values` as of `child`; with `stable` each
    candidate's choice is that of the batches after which it stays the same.
    """

    keep: tuple[float, ...] = (0.1, 0.01, 0.001)
    strive: float = 0.1
    observe: Literal["dev", "dev_loss", "loss"] = "dev"
    batches: int = 64
    stable: float = 0.0
    threshold: Literal["topk", "percentile"] = "topk"
    clip: Literal["child", "parent"] = "child"
    values: Literal["single", "half"] = "single"

    def plan(self, sites: Sites) -> Iterator[Edit]:
        """Refuses: what competes is trained by recipes alone."""
        raise RecipeError("ad_tuning is a search over child networks; use it in a recipe, with pegbox.train")

    def search(self, sites: Sites, size: Callable[[str], int], whole: int) -> Search:
        """Returns the competition of children."""
        rest = f'batches={self.batches}, threshold="{self.threshold}", clip="{self.clip}"'
        rest += f", stable={self.stable}" if self.stable else ""
        rest += ', values="half"' if self.values == "half" else ""
        children = tuple(f"child(keep={share}, {rest})" for share in self.keep)
        return Search(children, (self.strive,), self.observe)
