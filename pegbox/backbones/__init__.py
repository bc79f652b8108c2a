"""Backbones: one file a family, each a table over a network, mostly one of `transformers`."""

from functools import cache
from importlib import import_module

from pegbox import registry
from pegbox.backbones._family import Entry, Family, Front, Memory, Part, Precision, Span, State
from pegbox.backbones._fold import Backbone, find_sites, locate
from pegbox.backbones._load import drawn, from_config, load, outline, shipped
from pegbox.backbones._speech import padding_mask

__all__ = [
    "Backbone",
    "Entry",
    "Family",
    "Front",
    "Memory",
    "Part",
    "Precision",
    "Span",
    "State",
    "drawn",
    "families",
    "find_sites",
    "from_config",
    "load",
    "locate",
    "outline",
    "padding_mask",
    "shipped",
]


@cache
def families() -> dict[str, Family]:
    """Returns name → family of every backbone file and installed entry point."""
    return {name: import_module(module).family for name, module in registry.names("backbones").items()}
