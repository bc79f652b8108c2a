"""Pegbox: parameter-efficient tuning of pretrained speech and audio models.

Everything heavy is imported on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pegbox.backbones import load as load_backbone
    from pegbox.recipe import Recipe
    from pegbox.run import Run, load, train
    from pegbox.surgery import attach

__version__: Final = "0.1.0"
__all__ = ["Recipe", "Run", "attach", "load", "load_backbone", "train"]

_HOMES: Final = {
    "Recipe": ("pegbox.recipe", "Recipe"),
    "Run": ("pegbox.run", "Run"),
    "attach": ("pegbox.surgery", "attach"),
    "load": ("pegbox.run", "load"),
    "load_backbone": ("pegbox.backbones", "load"),
    "train": ("pegbox.run", "train"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'pegbox' has no attribute '{name}'")
    module, attribute = _HOMES[name]
    return getattr(import_module(module), attribute)
