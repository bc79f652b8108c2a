"""Speakers and words on real speech: Whisper tiny.en's encoder beside plain statistics of the sound, as one table.

`python benchmarks/tasks_real.py --out runs/tasks-real` trains weighted_sum and LoRA, three seeds each, to verify ten
speakers of LibriSpeech and to tell three words of Speech Commands; what is finished is not run again. The step is
chosen on validation, the test part is scored once. The floor beside it hears no network: mean and deviation of a
log-Mel spectrum, standardised by the training clips, compared by cosine or classified by logistic regression.
"""

import argparse
import csv
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from pegbox import audio, corpora, tasks
from pegbox.backbones._kaldi import Filterbank
from pegbox.demo import Job, markdown, run_job
from pegbox.errors import PegboxError, RecipeError
from pegbox.rows import Row
from pegbox.surgery import put

SHARED: Final = Path(__file__).resolve().parents[2] / "shared"
METHODS: Final = ("weighted_sum", 'lora(rank=8, blocks="-2:")')
_HELD_OUT: Final = 5  # speakers that training never hears, of ten
_RATE: Final = 16_000
_COLUMNS: Final = ("path", "split", "speaker", "word")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs what is not finished and prints the table as Markdown; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, default=SHARED, help="folder with models/ and data/")
    parser.add_argument("--out", type=Path, required=True, help="keep the runs here; what is finished is not run again")
    parser.add_argument("--tasks", nargs="*", help="names in the table; all by default")
    parser.add_argument("--methods", nargs="*", default=METHODS, help="in the order in which they are run")
    given = parser.parse_args(arguments)
    try:
        found = [each for each in settings(given.shared, given.out) if not given.tasks or each[0] in given.tasks]
        lines = [_floor(name, nouns) for name, nouns in found]
        lines += [_line(name, nouns | {"method": each}, given.out) for each in given.methods for name, nouns in found]
    except PegboxError as problem:
        print(f"tasks_real.py: {problem}", file=sys.stderr)
        return problem.exit_code
    print(markdown(["task", "method", "score", "validation", "test", "clips: train, validation, test"], sorted(lines)))
    return 0


def settings(shared: Path, out: Path) -> list[tuple[str, dict[str, Any]]]:
    """Returns the tasks by name, each a recipe without a method; writes the splits that they need."""
    real = shared / "data" / "real"
    for place in (shared / "models" / "whisper-tiny-en-encoder" / "config.json", real / "manifest.csv"):
        if not place.exists():
            raise RecipeError(f"{place}: not here; say with --shared DIR where the encoder and the recordings lie")
    clips = list(csv.DictReader((real / "manifest.csv").read_text(encoding="utf-8").splitlines()))
    speakers = [clip for clip in clips if clip["corpus"] == "librispeech_spk"]
    words = [clip for clip in clips if clip["corpus"] == "speech_commands"]
    unheard = set(sorted({clip["speaker"] for clip in speakers})[-_HELD_OUT:])
    common = {"backbone": str(shared / "models" / "whisper-tiny-en-encoder"), "seeds": [0, 1, 2]}
    verify = {
        "task": 'verify(label="speaker", network="pooled")',
        "train": {"epochs": 60, "batch_clips": 8, "validate_epochs": 5},
    }
    parted = {
        "unheard speakers": (_unheard(speakers, unheard), verify),
        "heard speakers": (_heard(speakers), verify),
        "words": (words, {"task": 'classify(label="word")', "train": {"epochs": 6}}),
    }
    disjoint = {"words": ', disjoint="speaker"'}
    found = []
    for name, (kept, nouns) in parted.items():
        path = _written(kept, out / f"{name.replace(' ', '-')}.csv")
        corpus = f'manifest(path="{path}", root="{real}"{disjoint.get(name, "")})'
        found.append((name, {**common, **nouns, "corpus": corpus}))
    return found


def _unheard(clips: Sequence[dict[str, str]], speakers: set[str]) -> list[dict[str, str]]:
    """All clips of some speakers are tested; of the others the published test takes are for validation."""
    split = {"train": "train", "test": "valid"}
    return [{**clip, "split": "test" if clip["speaker"] in speakers else split[clip["split"]]} for clip in clips]


def _heard(clips: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """The published split: three takes of every speaker are tested; of the other seven the last two validate."""
    last = {name for clip in clips for name in _last(clips, clip["speaker"])}
    return [{**clip, "split": "valid"} if clip["path"] in last else clip for clip in clips]


def _last(clips: Sequence[dict[str, str]], speaker: str) -> list[str]:
    return sorted(clip["path"] for clip in clips if clip["speaker"] == speaker and clip["split"] == "train")[-2:]


def _written(clips: Sequence[dict[str, str]], path: Path) -> Path:
    lines = [",".join(_COLUMNS), *(",".join(clip[name] for name in _COLUMNS) for clip in clips)]
    path.parent.mkdir(parents=True, exist_ok=True)
    put(path, "\n".join(lines) + "\n")
    return path


def _line(name: str, nouns: dict[str, Any], out: Path) -> list[str]:
    result = run_job(Job(name.replace(" ", "-"), nouns), out)
    metric = result["metric"]
    splits = [(result["mean"][split][metric], result["deviation"][split][metric]) for split in ("valid", "test")]
    clips = ", ".join(str(count) for count in result["trials"][0]["clips"].values())
    return [name, f"`{nouns['method']}`", metric, *(f"{mean:.3f} ± {spread:.3f}" for mean, spread in splits), clips]


def _floor(name: str, nouns: dict[str, Any]) -> list[str]:
    rows, task = corpora.build(nouns["corpus"]).rows(), tasks.build(nouns["task"])
    parts = [[row for row in rows if row.split == split] for split in ("train", "valid", "test")]
    scores = [task.score(_heard_plainly(parts[0], part, task))[task.metric] for part in parts[1:]]
    clips = ", ".join(str(len(part)) for part in parts)
    return [name, "log-Mel statistics", task.metric, *(f"{score:.3f}" for score in scores), clips]


def _heard_plainly(train: Sequence[Row], heard: Sequence[Row], task: tasks.Task) -> list[dict[str, Any]]:
    """Returns plain rows of clips, of which nothing is known but statistics of their sound."""
    known, given = _statistics(train), _statistics(heard)
    mean, deviation = known.mean(0), known.std(0) + 1e-6
    known, given = (known - mean) / deviation, (given - mean) / deviation
    right = [task.truth(row.labels) for row in heard]
    said = LogisticRegression(max_iter=5_000).fit(known, [task.truth(row.labels) for row in train]).predict(given)
    each = zip(heard, right, said.tolist(), given.tolist(), strict=True)
    return [{"id": row.id, "true": true, "said": word, "embedding": vector} for row, true, word, vector in each]


def _statistics(rows: Sequence[Row]) -> np.ndarray[Any, np.dtype[np.float64]]:  # → (clips, 160)
    bank, found = Filterbank(80, _RATE), []
    for row in rows:
        mel = bank(torch.from_numpy(audio.read(row.audio, _RATE, row.start, row.end))[None])[0].double()
        found.append(torch.cat([mel.mean(0), mel.std(0)]).numpy())
    return np.stack(found)


if __name__ == "__main__":
    sys.exit(main())
