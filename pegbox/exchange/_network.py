"""What reading and writing share: a network's module paths and sites, and a folder that appears whole or not at all."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torch import nn

from pegbox.backbones import Backbone, Family, Synthesis, find_sites, locate, tables
from pegbox.errors import PegboxError, RecipeError
from pegbox.sites import Sites

Network = Backbone | nn.Module


def known(model: Network) -> tuple[Family | Synthesis, nn.Module, Sites]:
    """Returns the family, the core and the sites of a backbone or of a caller's model."""
    if isinstance(model, Backbone):
        return model.family, model.core, model.sites()
    family, core = locate(model, tables())
    return family, core, find_sites(family, core, None)


def paths(model: Network) -> dict[int, str]:
    """Returns the path of each module by its identity; a backbone's are those in the class that loads its weights."""
    if not isinstance(model, Backbone):
        return {id(module): path for path, module in model.named_modules()}
    before = f"{model.family.inside}." if model.family.inside else ""
    return {id(module): before + path for path, module in model.core.named_modules()}


@contextmanager
def fresh(folder: str | Path) -> Iterator[Path]:
    """Gives a folder to write into that takes its name at the end, or is gone where something went wrong."""
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RecipeError(f"{folder}: holds something already; choose another folder")
    part = folder.with_name(folder.name + ".part")
    if part.exists():
        raise RecipeError(f"{part}: left behind by a write that was cut off; remove it")
    try:
        part.mkdir(parents=True)
        yield part
        part.replace(folder)
    except OSError as problem:
        raise PegboxError(f"{folder}: cannot be written ({problem.strerror or problem})") from problem
    finally:
        shutil.rmtree(part, ignore_errors=True)
