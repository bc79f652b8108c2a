"""Trained keys and values before the real ones of a block: drawn directly, or made from one table for all blocks."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from pegbox.errors import RecipeError
from pegbox.methods._parts import Affine, check_length, draw
from pegbox.sites import Edit, Site, Sites, around


def prefixes(
    name: str, sites: Sites, length: int, projection: int = 0, deviation: float = 0.02, dropout: float = 0.0
) -> Iterator[Edit]:
    """Yields one prefix a block; with a `projection`, one table and one map of that inner width for all of them."""
    check_length(name, length, sites)
    if projection < 0 or deviation < 0 or not 0 <= dropout < 1:
        raise RecipeError(
            f"{name}(projection={projection}, deviation={deviation}, dropout={dropout}): "
            "no negative size, a dropout below 1"
        )
    found = list(sites("memory"))
    table = Table(length, projection, len(found), sites.width, deviation) if projection else None
    for number, site in enumerate(found):
        yield around(site, Keys(site, length, deviation, dropout, table, number))


class Keys(nn.Module):
    """(key, value) with a trained pair before them."""

    def __init__(
        self, site: Site, length: int, deviation: float, dropout: float, table: "Table | None", number: int
    ) -> None:
        super().__init__()
        self.own = None if table else nn.Parameter(torch.randn(2, length, site.input_width) * deviation)
        self.owner = table if number == 0 else None  # the table's numbers are kept once, with the first block
        self.table = (table,)  # in a tuple: not registered again
        self.number = number
        self.dropout = nn.Dropout(dropout)

    def forward(self, _: object, memory: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Returns keys and values, each (batch, heads, prefix + time, head width)."""
        table = self.table[0]
        pair: Tensor = self.own if table is None else table(self.number)  # type: ignore[assignment]
        return self._joined(pair[0], memory[0]), self._joined(pair[1], memory[1])

    def _joined(self, prefix: Tensor, real: Tensor) -> Tensor:  # (prefix, width), (batch, heads, time, head width)
        by_head = prefix.view(len(prefix), real.shape[1], real.shape[3]).transpose(0, 1)
        wide = self.dropout(by_head.to(real.dtype).expand(len(real), -1, -1, -1))
        return torch.cat([wide, real], 2)


class Table(nn.Module):
    """One table for all blocks, and the map that makes their keys and values of it."""

    def __init__(self, length: int, inner: int, blocks: int, width: int, deviation: float) -> None:
        super().__init__()
        self.rows = nn.Parameter(torch.randn(length, width))
        self.down, self.up = Affine(width, inner), Affine(inner, 2 * blocks * width)
        self.blocks = blocks
        draw(self, deviation)

    def forward(self, number: int) -> Tensor:  # → (2, prefix, width)
        """Returns the pair of one block."""
        made: Tensor = self.up(self.down(self.rows).tanh())
        return made.view(len(made), self.blocks, 2, -1)[:, number].transpose(0, 1)
