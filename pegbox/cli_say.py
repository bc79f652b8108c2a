"""The command that speaks: any text by a synthesis run, as a sound file."""

from pathlib import Path
from typing import Annotated

import typer

from pegbox.cli_exchange import OtherBackbone, RunFolder

saying = typer.Typer()


@saying.command()
def say(
    run: RunFolder,
    text: Annotated[str, typer.Argument(help="What to say; digits and signs are read out.")],
    out: Annotated[Path, typer.Option(help="The sound file; its suffix says the format.")] = Path("out.wav"),
    backbone: OtherBackbone = None,
) -> None:
    """Say a text in the voice of a run of the task synthesize."""
    from pegbox import say as say_
    from pegbox.run import load

    said = say_.say(load(run), text, backbone)
    say_.write(said, out)
    typer.echo(f"{out}: {len(said.wave) / said.rate:.1f} s in {len(said.parts)} parts")
