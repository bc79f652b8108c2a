"""Language adapters as MMS has them (Pratap et al., 2023, arXiv:2305.13516): `adapter.<language>.safetensors`.

The file holds the adapter of every block and the CTC head of one language; `Wav2Vec2ForCTC.load_adapter` reads it.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from pegbox import surgery
from pegbox.delta import Delta
from pegbox.errors import RecipeError, WeightsError
from pegbox.exchange._network import Network, fresh, known
from pegbox.sites import Edit

HEAD: Final = "lm_head."
_ROOT: Final = "wav2vec2.encoder.layers."
_PARTS: Final = {"norm": "norm", "linear_1": "down", "linear_2": "up"}  # theirs → ours


@dataclass(frozen=True)
class Language:
    """A language's file: `pegbox.attach(model, method).load_tensors(tensors)`, and the CTC head's weight and bias."""

    method: str
    tensors: dict[str, Tensor]
    head: dict[str, Tensor]


def export_mms(
    delta: Delta, model: Network, folder: str | Path, language: str, head: nn.Module, vocabulary: Sequence[str] = ()
) -> None:
    """Writes an attached `mms_adapter` and a linear CTC head as `load_adapter` reads them.

    With a vocabulary, whose first unit is the blank, `vocab.json` is written for `Wav2Vec2CTCTokenizer` too.

    Raises:
        RecipeError: for another method, some blocks only, or a network that has no such adapters in transformers.
    """
    if not language or not language.replace("-", "").replace("_", "").isalnum():
        raise RecipeError(f"language={language!r}: letters, digits, '-' and '_', such as 'deu' or 'uig-script_arabic'")
    if not isinstance(head, nn.Linear) or head.bias is None:
        raise RecipeError(f"a language's file holds a linear head with a bias, here is a {type(head).__name__}")
    _check(model)
    tensors = dict(_named(_edits(delta, known(model)[2].depth)))
    tensors |= {f"{HEAD}weight": head.weight, f"{HEAD}bias": head.bias}
    with fresh(folder) as part:
        plain = {name: tensor.detach().float().cpu().contiguous() for name, tensor in tensors.items()}
        save_file(plain, part / f"adapter.{language}.safetensors", {"format": "pt"})
        if vocabulary:
            (part / "vocab.json").write_text(_vocabulary(language, vocabulary), encoding="utf-8")


def import_mms(path: str | Path, model: Network) -> Language:
    """Reads a language's file as a method on this network, which is left as it was.

    Raises:
        RecipeError: where the network has no such adapters in transformers.
        WeightsError: for a file that cannot be read, or tensors that do not fit the network.
    """
    _check(model)
    stored = _read(Path(path))
    size = len(stored.get(f"{_ROOT}0.adapter_layer.linear_1.bias", ()))
    if not size:
        raise WeightsError(f"{path}: no '{_ROOT}0.adapter_layer.linear_1.bias' here; is it a language adapter of MMS?")
    delta = surgery.attach(model, f"mms_adapter(size={size})")
    try:
        own = dict(_named(_edits(delta, known(model)[2].depth)))
        _fill(own, {name: tensor for name, tensor in stored.items() if not name.startswith(HEAD)}, path)
        head = {name.removeprefix(HEAD): tensor for name, tensor in stored.items() if name.startswith(HEAD)}
        return Language(f"mms_adapter(size={size})", delta.tensors(), head)
    finally:
        delta.detach()


def _check(model: Network) -> None:
    family, _, sites = known(model)
    if family.name != "wav2vec2" or not sites.norms_first:
        kind = "pre-norm" if sites.norms_first else "post-norm"
        raise RecipeError(f"transformers has language adapters in pre-norm wav2vec2 only; this is {kind} {family.name}")


def _edits(delta: Delta, depth: int) -> list[Edit]:
    """Returns the edits of the one `mms_adapter` of a delta, block by block."""
    terms = [term for term in delta.terms if term.edits]
    if [term.name for term in terms] != ["mms_adapter"]:
        told = " + ".join(term.name for term in terms) or "no edits"
        raise RecipeError(f"a language's file holds one mms_adapter, here is {told}")
    if len(terms[0].edits) < depth:
        raise RecipeError(f"a language's file holds all {depth} blocks, this mms_adapter has {len(terms[0].edits)}")
    return list(terms[0].edits)


def _named(edits: Sequence[Edit]) -> Iterator[tuple[str, Tensor]]:
    for number, edit in enumerate(edits):
        for theirs, ours in _PARTS.items():
            part: Any = getattr(edit.module, ours)
            yield f"{_ROOT}{number}.adapter_layer.{theirs}.weight", part.weight
            yield f"{_ROOT}{number}.adapter_layer.{theirs}.bias", part.bias


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as problem:
        raise WeightsError(f"{path}: no readable safetensors file of a language adapter ({problem})") from None


def _fill(own: Mapping[str, Tensor], stored: Mapping[str, Tensor], path: str | Path) -> None:
    shapes = {name: tuple(tensor.shape) for name, tensor in own.items()}
    found = {name: tuple(tensor.shape) for name, tensor in stored.items()}
    wrong = sorted(name for name in {*shapes, *found} if shapes.get(name) != found.get(name))
    if wrong:
        raise WeightsError(
            f"{path}: {len(wrong)} tensors do not fit this network, first '{wrong[0]}': stored "
            f"{found.get(wrong[0], 'not at all')}, wanted {shapes.get(wrong[0], 'not at all')}"
        )
    for name, tensor in own.items():
        tensor.data.copy_(stored[name])


def _vocabulary(language: str, units: Sequence[str]) -> str:
    names = ["<pad>", *("|" if unit == " " else unit for unit in units[1:])]
    return json.dumps({language: {name: number for number, name in enumerate(names)}}, ensure_ascii=False) + "\n"
