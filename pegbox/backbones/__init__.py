"""Backbones: one file a family, each a table over a network of `transformers`."""

from functools import cache
from importlib import import_module

from pegbox import registry
from pegbox.backbones._family import Family, Front, State
from pegbox.backbones._fold import Backbone, find_sites, locate
from pegbox.backbones._load import from_config, load, outline
from pegbox.backbones._speech import padding_mask

__all__ = [
    "Backbone",
    "Family",
    "Front",
    "State",
    "families",
    "find_sites",
    "from_config",
    "load",
    "locate",
    "outline",
    "padding_mask",
]


@cache
def families() -> dict[str, Family]:
    """Returns name → family of every backbone file and installed entry point."""
    return {name: import_module(module).family for name, module in registry.names("backbones").items()}
