"""The command that finds spoken queries in recordings; it trains nothing."""

import json
from pathlib import Path
from typing import Annotated

import typer

querying = typer.Typer()


@querying.command()
def query(
    backbone: Annotated[str, typer.Option(help="Hub id or local folder of the pretrained network.")],
    corpus: Annotated[str, typer.Option(help="Queries and documents, such as 'quesst14(root=\"quesst14Database\")'.")],
    out: Annotated[Path, typer.Option(help="The folder of the scores.")],
    gain: Annotated[float, typer.Option(help="dB by which all sound is heard louder than it is; SUPERB: -3.")] = 0.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
) -> None:
    """Find spoken queries in recordings by an encoder's hidden states; the layer is chosen on validation."""
    from pegbox.query import search

    def watch(layer: int, value: float) -> None:
        if not as_json:
            typer.echo(f"layer {layer}: MTWV {value:.4f} on the queries that validate")

    result = search(backbone, corpus, out, watch, gain=gain)
    test = result["scores"]["test"]["mtwv"]
    typer.echo(json.dumps(result) if as_json else f"layer {result['layer']}: MTWV {test:.4f} on the test queries")
