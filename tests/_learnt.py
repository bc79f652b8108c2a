"""What tests of tasks train: the shipped encoder for a few seconds, on a few of the clips that Pegbox makes."""

from pathlib import Path
from typing import Any

import pytest

import pegbox
from pegbox.corpora.synthetic import _espeak, _store

needs_espeak = pytest.mark.skipif(not _espeak.available(), reason="eSpeak NG is not installed (the extra 'demo')")


def few(kind: Any, root: Path, counts: dict[str, int], **options: Any) -> str:
    """Makes that many clips a split where a synthetic corpus would keep all of its, and returns the corpus's spec."""
    smaller = type("Few", (kind,), {"_counts": lambda self: counts})
    folder = _store.place(kind(**options, root=str(root)))
    folder.mkdir(parents=True)
    _store.make(smaller(**options), folder)
    given = "".join(f", {name}={value!r}" for name, value in options.items())
    return f'synthetic_{kind.__module__.rpartition(".")[2]}(root="{root}"{given})'


def learnt(task: str, corpus: str, out: Path, method: str = "weighted_sum", **train: Any) -> dict[str, Any]:
    """Returns the result of a short run with the `tiny` encoder."""
    recipe = {"backbone": "tiny", "method": method, "task": task, "corpus": corpus, "train": {"epochs": 10} | train}
    return pegbox.train(recipe, out)


def size(head: Any) -> int:
    """Returns how many numbers a head trains."""
    return sum(tensor.numel() for tensor in head.parameters())
