"""Making backbones: from a hub id, a folder or a family's own reader; without weights on the meta device; at random."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from torch import nn
from transformers.utils import logging as hf_logging

from pegbox.backbones._family import Family, Front, Precision
from pegbox.backbones._fold import Backbone, Table, find_sites, locate
from pegbox.backbones._synthesis import Synthesis
from pegbox.errors import RecipeError, WeightsError, nearest
from pegbox.sites import Sites


def shipped() -> dict[str, Path]:
    """Returns name → folder of the checkpoints that come with Pegbox, as `transformers` reads them."""
    return {path.parent.name: path.parent for path in sorted(Path(__file__).parent.glob("*/config.json"))}


def load(source: str, precision: Precision = "fp32") -> Backbone:
    """Loads a hub id, a local folder, or the name of a shipped checkpoint; the family is found from its configuration.

    Raises:
        WeightsError: when there is no such checkpoint, or it lacks tensors of the network.
    """
    found = _own(source)
    if found is not None:
        core, front, family = found
        return Backbone(family, core, front, source, precision)
    with quiet():
        config, front, family = _read(source)
        model, absent = from_pretrained(source, config, family.network)
    inside = f"{family.inside}." if family.inside else ""
    read = (name.removeprefix(inside) for name in absent if name.startswith(inside))
    _refuse(source, family, [name for name in read if family.reads(name)])
    return Backbone(family, model.get_submodule(family.inside), front, source, precision)


def load_synthesis(source: str) -> tuple[Synthesis, nn.Module]:
    """Loads a network that makes speech of text, from a hub id or a local folder, in fp32 and eval mode.

    Returns its table and the whole model of `transformers`, with the vocoder where the checkpoint has one.

    Raises:
        WeightsError: when there is no such checkpoint, or it lacks tensors of the model.
        RecipeError: when the network is an encoder.
    """
    with quiet():
        config, table = _recognised(source)
        if not isinstance(table, Synthesis):
            raise RecipeError(
                f"{source}: {table.name} is an encoder, which makes no speech; choose a checkpoint of "
                "fastspeech2_conformer, speecht5 or vits"
            )
        model, absent = from_pretrained(source, config, table.checkpoints[config.model_type])
    _refuse(source, table, absent)
    return table, model.eval()


def outline(source: str) -> Backbone:
    """Returns the backbone without weights, on the meta device: shapes, sites and counts only."""
    return _shaped(source, "meta", "fp32")


def drawn(source: str, precision: Precision = "fp32") -> Backbone:
    """Returns a backbone of the same shape with random weights: enough to see what a pass through it takes."""
    return _shaped(source, "cpu", precision)


def _shaped(source: str, device: str, precision: Precision) -> Backbone:
    found = _own(source)
    if found is not None:
        return _moved(*found, source, device, precision)
    with quiet():
        config, front, family = _read(source)
    return from_config(config, front, source, device=device, precision=precision, family=family)


def bare_outline(source: str) -> tuple[Table, nn.Module, Sites]:
    """Returns table, core and sites of any network that methods attach to, without weights, on the meta device."""
    found = _own(source)
    if found is None:
        with quiet():
            config, table = _recognised(source)
        if isinstance(table, Synthesis):
            with torch.device("meta"):
                model = getattr(transformers, table.checkpoints[config.model_type])(config)
            _, core = locate(model.to("meta"), {table.name: table})  # some of the library's tensors heed no device
            return table, core, find_sites(table, core, None)
    backbone = outline(source) if found is None else _moved(*found, source, "meta", "fp32")
    return backbone.family, backbone.core, backbone.sites()


def _moved(core: nn.Module, front: Front, family: Family, source: str, device: str, precision: Precision) -> Backbone:
    with torch.device(device):
        return Backbone(family, core.to(device), front, source, precision)


def from_config(
    config: Any, front: Front, source: str = "", *, device: str = "cpu", precision: Precision = "fp32", family: Family
) -> Backbone:
    """Returns a randomly initialised backbone of that configuration."""
    network = getattr(transformers, family.network)
    config._attn_implementation = _kernel(network)
    with torch.device(device):
        model = network(config)
        return Backbone(family, model.get_submodule(family.inside), front, source, precision)


def _kernel(network: Any) -> str:
    return "sdpa" if network._supports_sdpa else "eager"  # WavLM's is Pegbox's own, and fused all the same


def from_pretrained(source: str, config: Any, name: str) -> tuple[Any, list[str]]:
    """Returns the model of that class, and which of its tensors the checkpoint lacks or has in another shape."""
    network = getattr(transformers, name)
    try:
        model, report = network.from_pretrained(
            place(source),
            config=config,
            dtype=torch.float32,
            attn_implementation=_kernel(network),
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as problem:
        raise WeightsError(f"{source}: the weights cannot be loaded: {first_line(problem)}") from problem
    return model, [*report["missing_keys"], *(str(key) for key in report["mismatched_keys"])]


def _refuse(source: str, table: Table, missing: list[str]) -> None:
    if missing:
        raise WeightsError(f"{source}: {len(missing)} tensors of {table.name} are not in the checkpoint: {missing[:4]}")


@contextmanager
def quiet() -> Iterator[None]:
    """Silences the library's load report: Pegbox checks the missing tensors itself."""
    level, bar = hf_logging.get_verbosity(), hf_logging.is_progress_bar_enabled()
    hf_logging.set_verbosity_error()
    hf_logging.disable_progress_bar()
    try:
        yield
    finally:
        hf_logging.set_verbosity(level)
        if bar:
            hf_logging.enable_progress_bar()


def _own(source: str) -> tuple[nn.Module, Front, Family] | None:
    """Asks the families that read checkpoints of their own, those of installed packages among them."""
    from pegbox.backbones import families

    for family in families().values():
        found = family.read(source) if family.read else None
        if found is not None:
            return *found, family
    return None


def _read(source: str) -> tuple[Any, Front, Family]:
    config, table = _recognised(source)
    if isinstance(table, Synthesis):
        raise RecipeError(
            f"{source}: {table.name} is a synthesis network: it reads text, not waveforms, and cannot be the encoder "
            f"of a recipe; {_other_way(table)}"
        )
    return config, front(source), table


def _other_way(table: Synthesis) -> str:
    if table.lessons is not None:
        return 'give it the task "synthesize"'
    return "load it by pegbox.backbones.load_synthesis and use pegbox.attach in a loop of your own"


def _recognised(source: str) -> tuple[Any, Table]:
    from pegbox.backbones import tables

    folder = Path(place(source))
    if (folder.exists() or source.startswith((".", "/", "~"))) and not (folder / "config.json").is_file():
        raise WeightsError(f"{source}: no config.json in this folder; a backbone is a hub id or a transformers folder")
    try:
        config = transformers.AutoConfig.from_pretrained(place(source))
    except (OSError, ValueError) as problem:
        raise WeightsError(f"{source}: no backbone can be read here: {first_line(problem)}") from problem
    known = {kind: family for family in tables().values() for kind in family.model_types}
    if config.model_type not in known:
        raise WeightsError(f"{source}: a network of type '{config.model_type}'{nearest(config.model_type, known)}")
    return config, known[config.model_type]


def front(source: str) -> Front:
    """Returns a checkpoint's input settings, empty where it has none."""
    try:
        settings, _ = transformers.FeatureExtractionMixin.get_feature_extractor_dict(place(source))
    except OSError:
        settings = {}
    return Front(int(settings.get("sampling_rate", 16_000)), settings)


def place(source: str) -> str:
    """Returns a shipped checkpoint's folder for its name, unless a checkpoint of that name is here."""
    return source if (Path(source) / "config.json").is_file() else str(shipped().get(source, source))


def first_line(problem: Exception) -> str:
    """Returns what a library's error says first."""
    return str(problem).strip().partition("\n")[0]
