"""Speakers and words on real speech: Whisper tiny.en's encoder beside plain statistics of the sound, as one table.

`python benchmarks/tasks_real.py --out runs/tasks-real` trains weighted_sum and LoRA, three seeds each, to verify ten
speakers of LibriSpeech and to tell three words of Speech Commands; what is finished is not run again. The step is
chosen on validation, the test part is scored once. Beside it stands what is not trained: mean and deviation of a
log-Mel spectrum, or of one hidden state, standardised by the training clips; cosine compares them, logistic regression
classifies.
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

from pegbox import backbones, corpora, tasks
from pegbox.backbones._kaldi import Filterbank
from pegbox.demo import Job, markdown, run_job
from pegbox.errors import PegboxError, RecipeError
from pegbox.rows import Row, wave
from pegbox.surgery import put

SHARED: Final = Path(__file__).resolve().parents[2] / "shared"
Numbers = np.ndarray[Any, np.dtype[np.float64]]
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
        lines = [line for name, nouns in found for line in _plain(name, nouns)]
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


def _plain(name: str, nouns: dict[str, Any]) -> list[list[str]]:
    """Returns the rows of what is not trained: statistics of the sound, and of the hidden state best on validation."""
    rows, task = corpora.build(nouns["corpus"]).rows(), tasks.build(nouns["task"])
    parts = [[row for row in rows if row.split == split] for split in ("train", "valid", "test")]
    clips = ", ".join(str(len(part)) for part in parts)
    states = [_states(part, backbones.load(nouns["backbone"])) for part in parts]  # each (clips, states, numbers)
    layers = [_scores(parts, [each[:, layer] for each in states], task) for layer in range(states[0].shape[1])]
    pick = max if task.better == "max" else min
    best = pick(range(len(layers)), key=lambda layer: layers[layer][0])
    found = {"log-Mel statistics": _scores(parts, [_mel(part) for part in parts], task)}
    found[f"statistics of hidden state {best}"] = layers[best]
    return [[name, what, task.metric, *(f"{score:.3f}" for score in each), clips] for what, each in found.items()]


def _scores(parts: Sequence[Sequence[Row]], numbers: Sequence[Numbers], task: tasks.Task) -> list[float]:
    """Returns the scores of validation and test clips."""
    pairs = zip(parts[1:], numbers[1:], strict=True)
    return [task.score(_told(parts[0], numbers[0], rows, given, task))[task.metric] for rows, given in pairs]


def _told(
    train: Sequence[Row], known: Numbers, heard: Sequence[Row], given: Numbers, task: tasks.Task
) -> list[dict[str, Any]]:
    """Returns plain rows of clips, of which nothing is known but some numbers each."""
    mean, deviation = known.mean(0), known.std(0) + 1e-6
    known, given = (known - mean) / deviation, (given - mean) / deviation
    right = [task.truth(row.labels) for row in heard]
    said = LogisticRegression(max_iter=5_000).fit(known, [task.truth(row.labels) for row in train]).predict(given)
    each = zip(heard, right, said.tolist(), given.tolist(), strict=True)
    return [{"id": row.id, "true": true, "said": word, "embedding": vector} for row, true, word, vector in each]


def _mel(rows: Sequence[Row]) -> Numbers:  # → (clips, 160)
    bank = Filterbank(80, _RATE)
    return np.stack([_spread(bank(torch.from_numpy(wave(row, _RATE))[None])[0]) for row in rows])


@torch.no_grad()
def _states(rows: Sequence[Row], backbone: backbones.Backbone) -> Numbers:  # → (clips, states, 2 · width)
    sounds = [torch.from_numpy(wave(row, backbone.rate))[None] for row in rows]
    stems = [backbone.stem(sound, torch.tensor([sound.shape[1]])) for sound in sounds]
    return np.stack([np.stack([_spread(x[0]) for x in backbone.fold(stem)]) for stem in stems])


def _spread(x: torch.Tensor) -> Numbers:  # (time, width) → (2 · width,)
    return torch.cat([x.double().mean(0), x.double().std(0)]).numpy()


if __name__ == "__main__":
    sys.exit(main())
