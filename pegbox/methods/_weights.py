"""What methods on weight matrices share: which sites they take, and numbers drawn again from a seed."""

import math
from hashlib import blake2b

import torch
from torch import Tensor, nn

from pegbox.errors import RecipeError
from pegbox.sites import Site, Sites


def linear(method: str, site: Site, sites: Sites) -> nn.Linear:
    """Returns the linear module that a site owns, or refuses the site and names those of the network that have one."""
    if not isinstance(site.owner, nn.Linear):
        own = [each for each in sites.table if each.block in sites.chosen]
        others = {each.role for each in own if not isinstance(each.owner, nn.Linear)}
        roles = dict.fromkeys(each.role for each in own if each.role not in others)
        raise RecipeError(f"{method}: the site '{site.name}' is no linear module; choose from {', '.join(roles)}")
    return site.owner


def check_rank(method: str, rank: int, site: Site, limit: int) -> None:
    """Refuses a rank that no matrix at the site can have."""
    if not 1 <= rank <= limit:
        raise RecipeError(f"{method}(rank={rank}): at '{site.name}' the rank goes from 1 to {limit}")


def drawing(seed: int, name: str) -> torch.Generator:
    """Returns a generator of its own for a seed and a name, whatever else was drawn before."""
    number = int.from_bytes(blake2b(f"{seed} {name}".encode(), digest_size=7).digest())
    return torch.Generator("cpu").manual_seed(number)


def uniform(rows: int, columns: int, bound: float, seed: int, name: str) -> Tensor:
    """Returns numbers from -bound to bound, the same bits on every machine (normal numbers would not be)."""
    drawn = torch.rand(rows, columns, generator=drawing(seed, name), device="cpu")
    return (2 * drawn - 1) * bound


def kaiming(rows: int, columns: int) -> nn.Parameter:
    """Returns a trained matrix drawn as the library draws the weight of a linear module."""
    matrix = nn.Parameter(torch.empty(rows, columns))
    nn.init.kaiming_uniform_(matrix, a=math.sqrt(5))
    return matrix
