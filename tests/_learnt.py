"""What tests of tasks train: the shipped encoder for a few seconds, on a few of the clips that Pegbox makes."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

import pegbox
from pegbox import rows
from pegbox.corpora.synthetic import _espeak, _store

needs_espeak = pytest.mark.skipif(not _espeak.available(), reason="eSpeak NG is not installed (the extra 'demo')")


def few(kind: Any, folder: Path, counts: dict[str, int], **options: Any) -> str:
    """Makes that many clips a split of a synthetic corpus, and returns the spec of a manifest of them."""
    smaller = type("Few", (kind,), {"_counts": lambda self: counts})
    folder.mkdir()
    _store.make(smaller(**options), folder)
    found = [asdict(row) for row in rows.load(folder / "manifest.jsonl")]
    lines = [{"path": row["audio"], "name": row["id"], "split": row["split"], **row["labels"]} for row in found]
    (folder / "few.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return f'manifest(path="{folder}/few.jsonl", id="name")'


def learnt(task: str, corpus: str, out: Path, method: str = "weighted_sum", **train: Any) -> dict[str, Any]:
    """Returns the result of a short run with the `tiny` encoder."""
    recipe = {"backbone": "tiny", "method": method, "task": task, "corpus": corpus, "train": {"epochs": 10} | train}
    return pegbox.train(recipe, out)


def size(head: Any) -> int:
    """Returns how many numbers a head trains."""
    return sum(tensor.numel() for tensor in head.parameters())
