"""Exchange with other libraries: adapter folders of `peft` both ways, merged networks, and MMS's language adapters.

Peft's folder is a description in JSON and tensors by module path; both are read and written here without peft.
"""

from pathlib import Path
from typing import Final, Literal

from torch import nn

from pegbox import backbones, surgery
from pegbox import run as run_
from pegbox.delta import Delta
from pegbox.errors import RecipeError
from pegbox.exchange._merged import export_merged
from pegbox.exchange._mms import Language, export_mms, import_mms
from pegbox.exchange._network import Network, fresh
from pegbox.exchange._peft_in import Imported, import_peft
from pegbox.exchange._peft_out import described, write
from pegbox.run import Run

OURS: Final = "pegbox.safetensors"  # head and layer weights, for which peft and a bare network have no place
Form = Literal["merged", "peft"]


def export_peft(delta: Delta, model: Network, folder: str | Path, source: str = "") -> None:
    """Writes an attached LoRA, IA³ or LayerNorm delta as peft does, by the module paths of `model`.

    `PeftModel.from_pretrained` reads it over a network of `model`'s class; for a `Backbone` over that by which its
    checkpoint is loaded, such as `HubertModel`. `source` is the checkpoint that the folder names as its base.

    Raises:
        RecipeError: for what peft cannot express; nothing has been written then.
    """
    config, tensors = described(delta, model, source)
    with fresh(folder) as part:
        write(part, config, tensors)


def export_run(run: Run | str | Path, folder: str | Path, form: Form, backbone: str | None = None) -> None:
    """Writes a finished run's adapter or merged network; head and layer weights go beside it, `pegbox.safetensors`.

    `backbone` says where the run's checkpoint lies now, if it was moved. The network is read in fp32.
    """
    run = run if isinstance(run, Run) else run_.load(run)
    tuned = run_.open_model(run, backbone, "fp32")
    rest = {name: tensor for name, tensor in tuned.tensors().items() if not name.startswith("delta.")}
    if form == "peft":
        export_peft(tuned.delta, tuned.backbone, folder)
    else:
        export_merged(tuned.delta, tuned.backbone, folder)
    about = {"task": run.recipe.task, "features": run.recipe.features, "vocabulary": list(tuned.vocabulary)}
    surgery.save_tensors(Path(folder) / OURS, rest, about | {"method": run.recipe.method})


def export_language(run: Run | str | Path, folder: str | Path, language: str, backbone: str | None = None) -> None:
    """Writes a finished CTC run of `mms_adapter` as a language of an MMS checkpoint, with its head and vocabulary."""
    run = run if isinstance(run, Run) else run_.load(run)
    tuned = run_.open_model(run, backbone, "fp32")
    if not tuned.task.framewise or tuned.mixes != (tuned.backbone.depth,) or tuned.layers is not None:
        raise RecipeError(
            f"{run.folder}: a language's file has a CTC head on the last hidden state, this run is {run.recipe.task} "
            f"on features={run.recipe.features!r}; train it with task='ctc' and features='last'"
        )
    linear = [part for part in tuned.head.modules() if isinstance(part, nn.Linear)]
    head = linear[0] if len(linear) == 1 and len(list(tuned.head.parameters())) == 2 else tuned.head
    export_mms(tuned.delta, tuned.backbone, folder, language, head, tuned.vocabulary)


def import_language(path: str | Path, backbone: str, out: str | Path) -> str:
    """Takes a language's file over into one for `pegbox.surgery.load`, its head beside it; returns the method."""
    found, out = import_mms(path, backbones.load(backbone)), Path(out)
    about = {"method": found.method, "backbone": backbone}
    surgery.save_tensors(out, found.tensors, about)
    surgery.save_tensors(out.with_suffix(".head.safetensors"), found.head, about)
    return found.method


def import_file(folder: str | Path, backbone: str, out: str | Path) -> str:
    """Takes a folder of peft's over into a file for `pegbox.surgery.load`, and returns the method that it is."""
    found = import_peft(folder, backbones.load(backbone))
    surgery.save_tensors(out, found.tensors, {"method": found.method, "backbone": backbone})
    return found.method


__all__ = [
    "OURS",
    "Form",
    "Imported",
    "Language",
    "export_language",
    "export_merged",
    "export_mms",
    "export_peft",
    "export_run",
    "import_file",
    "import_language",
    "import_mms",
    "import_peft",
]
