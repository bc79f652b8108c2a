"""Merged networks, written as ordinary folders of transformers."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor

from pegbox.backbones import Backbone
from pegbox.delta import Delta
from pegbox.errors import RecipeError
from pegbox.exchange._network import Network, fresh


def export_merged(delta: Delta, model: Network, folder: str | Path) -> None:
    """Merges a delta into its network, for good, and writes that as an ordinary folder of transformers.

    A `Backbone` is written in fp32 with its input settings, a caller's model with its head, if it has one.

    Raises:
        RecipeError: where an edit cannot be merged; nothing has been changed or written then.
    """
    if isinstance(model, Backbone) and not model.family.network:
        raise RecipeError(f"{model.family.name} is no network of transformers; there is no folder to write it as")
    if not isinstance(model, Backbone | transformers.PreTrainedModel):
        raise RecipeError(f"transformers cannot save a {type(model).__name__}; give the model of transformers inside")
    with fresh(folder) as part:
        delta.merge()
        if isinstance(model, Backbone):
            _save(model, part)
        else:
            model.save_pretrained(part)


def _save(backbone: Backbone, folder: Path) -> None:
    family, core = backbone.family, backbone.core
    before = f"{family.inside}." if family.inside else ""
    with _as_loaded(backbone):
        shell: Any = core
        if family.inside:  # the rest of that class has no weights here, and gets none
            with torch.device("meta"):
                shell = getattr(transformers, family.network)(backbone.config)
            shell.set_submodule(family.inside, core)
        shell.save_pretrained(folder, state_dict={before + name: _full(t) for name, t in core.state_dict().items()})
    if backbone.front_settings.settings:
        text = json.dumps(dict(backbone.front_settings.settings), indent=2, default=str)
        (folder / "preprocessor_config.json").write_text(text + "\n", encoding="utf-8")


@contextmanager
def _as_loaded(backbone: Backbone) -> Iterator[None]:
    """Gives the network the settings of its checkpoint back while it is written: LayerDrop, for one."""
    backbone._undo()
    try:
        yield
    finally:
        backbone._undo = backbone.family.ready(backbone.core)


def _full(tensor: Tensor) -> Tensor:
    return tensor.detach().float().cpu() if tensor.is_floating_point() else tensor.detach().cpu()
