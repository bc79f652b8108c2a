"""What a method that stands for a search of others, such as `auto`, means on a recipe's network."""

from dataclasses import replace

import torch

from pegbox import methods, tasks
from pegbox.backbones import Network, Speaker
from pegbox.delta import Delta
from pegbox.errors import RecipeError
from pegbox.recipe import Recipe, Search
from pegbox.training.prepare import check_edits, outline_network


def resolve(recipe: Recipe) -> Recipe:
    """Returns a recipe whose method, where it stands for a search, is that search, made for its backbone."""
    chosen = methods.parse(recipe.method) if recipe.method else ()
    for name, method in ((each.name, each.method) for each in chosen):
        if isinstance(method, methods.Searching):
            if len(chosen) > 1:
                raise RecipeError(f"{name} is a search of its own; it cannot be part of '{recipe.method}'")
            network = outline_network(recipe.backbone, tasks.build(recipe.task))
            return replace(recipe, method="", search=_searched(method, network))
    return recipe


def _searched(method: methods.Searching, network: Network) -> Search:
    whole = sum(tensor.numel() for tensor in network.core.parameters())
    return method.search(network.sites(), lambda spec: _size(network, spec), whole)


def _size(backbone: Network, spec: str) -> int:
    """Returns how many numbers a method trains on a network on the meta device; refuses one that has no part in it."""
    terms = methods.plan(methods.parse(spec), backbone.sites())
    if isinstance(backbone, Speaker):
        check_edits(spec, terms)
    with torch.device("meta"):
        delta = Delta(backbone.core, terms, backbone.family.unused)
    delta.detach()
    return sum(tensor.numel() for tensor in delta.parameters())
