"""Backbones: one file a family, each a table over a network, mostly one of `transformers`."""

from functools import cache
from importlib import import_module

from pegbox import registry
from pegbox.backbones._family import Entry, Family, Front, Memory, Part, Precision, Span, Stack, State, Weights
from pegbox.backbones._fold import Backbone, find_sites, locate
from pegbox.backbones._load import bare_outline, drawn, from_config, load, load_synthesis, outline, shipped
from pegbox.backbones._speaker import Speaker, load_speaker, outline_speaker
from pegbox.backbones._speech import padding_mask
from pegbox.backbones._synthesis import Spoken, Synthesis, Taught, Voice
from pegbox.backbones._tokens import load_tokenizer
from pegbox.backbones._vocoder import Vocoder, load_vocoder, outline_vocoder, vocoder_digest

__all__ = [
    "Backbone",
    "Entry",
    "Family",
    "Front",
    "Memory",
    "Network",
    "Part",
    "Precision",
    "Span",
    "Speaker",
    "Spoken",
    "Stack",
    "State",
    "Synthesis",
    "Taught",
    "Vocoder",
    "Voice",
    "Weights",
    "bare_outline",
    "drawn",
    "families",
    "find_sites",
    "from_config",
    "load",
    "load_speaker",
    "load_synthesis",
    "load_tokenizer",
    "load_vocoder",
    "locate",
    "outline",
    "outline_speaker",
    "outline_vocoder",
    "padding_mask",
    "shipped",
    "tables",
    "vocoder_digest",
]

Network = Backbone | Speaker


@cache
def tables() -> dict[str, Family | Synthesis]:
    """Returns name → table of every backbone file and installed entry point: all networks that a method attaches to."""
    return {name: import_module(module).family for name, module in registry.names("backbones").items()}


@cache
def families() -> dict[str, Family]:
    """Returns name → family of those that are folds from waveforms, which Pegbox loads and trains by itself."""
    return {name: table for name, table in tables().items() if isinstance(table, Family)}
