"""The tokenizer that a checkpoint brings for its texts, by transformers."""

from typing import Any

import transformers

from pegbox.backbones import _load
from pegbox.errors import RecipeError, WeightsError


def load_tokenizer(source: str) -> Any:
    """Returns the tokenizer of a hub id or a local folder.

    Raises:
        WeightsError: the checkpoint has none.
        RecipeError: it needs a library that is not installed.
    """
    try:
        with _load.quiet():
            found = transformers.AutoTokenizer.from_pretrained(_load.place(source))
            found("a")  # some ask for their library only now
    except ImportError as problem:
        raise RecipeError(
            f"{source}: its tokenizer needs a library that is not installed: {_load.first_line(problem)}; for "
            "SentencePiece: pip install 'pegbox[speech]'"
        ) from problem
    except (OSError, RuntimeError, TypeError, ValueError) as problem:  # TypeError: there is no file
        raise WeightsError(f"{source}: no tokenizer can be read here: {_load.first_line(problem)}") from problem
    return found
