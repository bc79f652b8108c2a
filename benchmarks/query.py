"""Are spoken words found in recordings? `python benchmarks/query.py --out runs/query` prints a table.

Documents are strings of three spoken digits (Free Spoken Digit Dataset), each string by one of six speakers; queries
are single digits by the same speakers, other takes of theirs, two of each digit to choose the layer and two to test.
The recordings are not part of the project. Beside the MTWV stands how often the best document of a query is a right
one, and how often by chance.
"""

import argparse
import csv
import json
from pathlib import Path
from statistics import fmean
from typing import Any, Final

import numpy as np
import soundfile

from pegbox import audio
from pegbox.corpora.fsdd import Fsdd
from pegbox.demo import markdown
from pegbox.query import search
from pegbox.rows import Row

SHARED: Final = Path(__file__).resolve().parents[2] / "shared"
RATE: Final = 16_000
TAKES: Final = {"valid": (0, 1), "test": (2, 3)}  # of each digit and speaker, as queries
STRINGS: Final = 200
HEAD: Final = ["encoder", "layer", "MTWV, choosing", "MTWV, tested", "best document right", "by chance"]


def main() -> None:
    """Makes the clips, tries every layer of each encoder, and prints the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="clips and scores go here")
    parser.add_argument("--shared", type=Path, default=SHARED, help="folder with models/ and data/")
    given = parser.parse_args()
    spec = f'manifest(path="{_made(given.shared / "data" / "real" / "fsdd", given.out / "clips")}")'
    sources = {"tiny": "tiny", "Whisper tiny.en": str(given.shared / "models" / "whisper-tiny-en-encoder")}
    print(markdown(HEAD, [_line(name, source, spec, given.out / name) for name, source in sources.items()]))


def _line(name: str, source: str, corpus: str, out: Path) -> list[str]:
    result = search(source, corpus, out, cache=str(out / "cache"))
    rows = [json.loads(line) for line in (out / "predictions.jsonl").read_text(encoding="utf-8").splitlines()]
    rows = [row for row in rows if row["split"] == "test"]
    right = fmean(max(row["fits"], key=row["fits"].get) in row["true"] for row in rows)
    chance = fmean(len(row["true"]) / len(row["fits"]) for row in rows)
    values = [result["scores"][split]["mtwv"] for split in ("valid", "test")]
    return [name, f"{result['layer']} of {len(result['layers']) - 1}", *(f"{x:.3f}" for x in (*values, right, chance))]


def _made(source: Path, folder: Path) -> Path:
    """Writes strings and queries, and a manifest of them, whose path it returns."""
    folder.mkdir(parents=True, exist_ok=True)
    draw, rows = np.random.default_rng(0), Fsdd(str(source)).rows()
    asked = {int(take): split for split, takes in TAKES.items() for take in takes}
    told = [row for row in rows if int(row.labels["take"]) not in asked]
    spoken = [
        [row for row in told if row.labels["speaker"] == who] for who in sorted({row.labels["speaker"] for row in rows})
    ]
    inside, lines = dict[str, set[str]](), list[dict[str, Any]]()
    for number in range(STRINGS):
        own = spoken[number % len(spoken)]
        chosen = [own[n] for n in draw.permutation(len(own))[:3]]
        inside[f"string{number}.wav"] = {row.labels["word"] for row in chosen}
        soundfile.write(folder / f"string{number}.wav", np.concatenate([_wave(row) for row in chosen]), RATE)
        lines.append({"path": f"string{number}.wav", "split": "train", "role": "document", "documents": ""})
    for row in (row for row in rows if int(row.labels["take"]) in asked):
        soundfile.write(folder / f"{row.id}.wav", _wave(row), RATE)
        there = ",".join(name for name, words in inside.items() if row.labels["word"] in words)
        split = asked[int(row.labels["take"])]
        lines.append({"path": f"{row.id}.wav", "split": split, "role": "query", "documents": there})
    with (folder / "clips.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [*lines[0]])
        writer.writeheader()
        writer.writerows(lines)
    return folder / "clips.csv"


def _wave(row: Row) -> np.ndarray[Any, np.dtype[np.float32]]:
    return audio.read(row.audio, RATE, row.start, row.end)


if __name__ == "__main__":
    main()
