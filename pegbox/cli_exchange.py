"""The commands that read and write the files of other libraries. Heavy imports stay inside."""

from pathlib import Path
from typing import Annotated, Literal

import typer

exchanging = typer.Typer()

RunFolder = Annotated[Path, typer.Argument(help="The folder of a finished run.")]
OtherBackbone = Annotated[str | None, typer.Option("--backbone", help="Where the backbone lies now, if it was moved.")]
Network = Annotated[str, typer.Argument(help="Hub id, local folder or shipped name of its network.")]
DeltaFile = Annotated[Path, typer.Argument(help="The delta's file, which pegbox.surgery.load reads.")]
NewFolder = Annotated[Path, typer.Argument(help="A new folder.")]


@exchanging.command()
def export(
    run: RunFolder,
    folder: NewFolder,
    form: Annotated[
        Literal["merged", "peft"], typer.Option("--as", help="A whole network of transformers, or a peft adapter.")
    ] = "merged",
    backbone: OtherBackbone = None,
) -> None:
    """Write a finished run for transformers or peft; head and layer weights go beside it into pegbox.safetensors."""
    from pegbox.exchange import OURS, export_run

    export_run(run, folder, form, backbone)
    typer.echo(f"{folder}: {form}, with the head in {OURS}")


@exchanging.command("import-peft")
def import_peft(
    folder: Annotated[Path, typer.Argument(help="A folder that peft saved: LoRA, IA3 or LayerNorm tuning.")],
    backbone: Network,
    out: DeltaFile,
) -> None:
    """Take an adapter of peft over: print what it is as a method, and write its numbers as a delta."""
    from pegbox import exchange

    typer.echo(exchange.import_file(folder, backbone, out))


@exchanging.command("export-mms")
def export_mms(
    run: RunFolder,
    folder: NewFolder,
    language: Annotated[str, typer.Argument(help="The language's name in MMS, such as deu.")],
    backbone: OtherBackbone = None,
) -> None:
    """Write a finished CTC run of mms_adapter as a language of MMS: adapter.LANGUAGE.safetensors and vocab.json."""
    from pegbox import exchange

    exchange.export_language(run, folder, language, backbone)
    typer.echo(f"{folder}: adapter.{language}.safetensors; Wav2Vec2ForCTC.load_adapter finds it beside its checkpoint")


@exchanging.command("import-mms")
def import_mms(
    file: Annotated[Path, typer.Argument(help="An adapter.LANGUAGE.safetensors of MMS.")],
    backbone: Network,
    out: DeltaFile,
) -> None:
    """Take a language adapter of MMS over: print the method, write its numbers and its head."""
    from pegbox import exchange

    typer.echo(exchange.import_language(file, backbone, out))
