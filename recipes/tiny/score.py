"""What an encoder's frozen features know: `python recipes/tiny/score.py pegbox/backbones/tiny [--shared DIR]`.

Logistic regression on the mean and deviation of the last layer over time; beside it, random weights of the same
network, log-Mel frames, and any other encoders that are named.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Final

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from transformers import WhisperConfig

from pegbox import audio, backbones, corpora
from pegbox.backbones.whisper import LogMel
from pegbox.rows import Row

SEEDS: Final = (0, 1, 2)
Features = Callable[[Sequence[Row], int], np.ndarray]


def main() -> None:
    """Prints one Markdown table, a row a source of features."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("encoders", nargs="+", help="folders or hub ids")
    parser.add_argument("--shared", type=Path, default=Path(__file__).resolve().parents[3] / "shared")
    parser.add_argument("--only", nargs="*", default=["digits", "ESC-10", "keywords", "intents"])
    given = parser.parse_args()
    sources: dict[str, Features] = {name: encoder(name) for name in given.encoders}
    sources |= {"random weights": scrambled(given.encoders[0]), "log-Mel frames": mel()}
    tasks = {name: TASKS[name] for name in given.only}
    print("| features | " + " | ".join(tasks) + " |\n| --- |" + " --- |" * len(tasks), flush=True)
    for name, features in sources.items():
        print(f"| {name} |", end="", flush=True)
        for task in tasks.values():
            scores = task(features, given.shared / "data" / "real")
            print(f" {fmean(scores):.4f} ± {stdev(scores):.4f} |", end="", flush=True)
        print()


def digits(features: Features, real: Path) -> list[float]:
    """Trained on 1,000 drawn clips of four speakers, tested on 1,000 of two others; a draw a seed."""
    rows = corpora.build(f'fsdd(root="{real}/fsdd", test_speakers=["lucas", "yweweler"])').rows()
    known, unseen = ([row for row in rows if (row.split == "test") is part] for part in (False, True))
    known = [row for row in known if int(row.labels["take"]) >= 5]
    scores = []
    for seed in SEEDS:
        drawn = [known[index] for index in np.random.default_rng(seed).permutation(len(known))[:1000]]
        scores.append(_probe(features(drawn, seed), drawn, features(unseen, seed), unseen, "word"))
    return scores


def sounds(features: Features, real: Path) -> list[float]:
    """ESC-10: each of the five folds tested once."""
    rows = corpora.build(f'esc10(root="{real}/esc10")').rows()
    found = features(rows, 0)
    scores = []
    for fold in range(1, 6):
        test = np.array([row.fold == fold for row in rows])
        known, unseen = ([row for row in rows if (row.fold == fold) is wanted] for wanted in (False, True))
        scores.append(_probe(found[~test], known, found[test], unseen, "event"))
    return scores


def synthetic(spec: str, label: str) -> Callable[[Features, Path], list[float]]:
    """Trained on the training part, tested on other voices; a corpus of its own a seed."""

    def task(features: Features, real: Path) -> list[float]:
        scores = []
        for seed in SEEDS:
            rows = corpora.build(spec.format(seed=seed)).rows()
            train, test = ([row for row in rows if row.split == split] for split in ("train", "test"))
            scores.append(_probe(features(train, seed), train, features(test, seed), test, label))
        return scores

    return task


TASKS: Final = {
    "digits": digits,
    "ESC-10": sounds,
    "keywords": synthetic('synthetic_keywords(size="medium", seed={seed})', "word"),
    "intents": synthetic('synthetic_intents(size="medium", seed={seed})', "intent"),
}


def encoder(source: str) -> Features:
    """Returns features of pretrained weights."""
    network = backbones.load(source)
    return _cached(lambda row, seed: _states(network, row))


def scrambled(source: str) -> Features:
    """Returns features of the same network with random weights, other ones each seed."""
    known = backbones.load(source)
    networks = []
    for seed in SEEDS:
        torch.manual_seed(seed)
        networks.append(backbones.from_config(known.config, known.front_settings, family=known.family))
    return lambda rows, seed: np.stack([_states(networks[seed], row) for row in rows])


def mel() -> Features:
    """Returns statistics of 80 log-Mel bands, as Whisper has them."""
    front = LogMel(backbones.Front(16_000, {}), WhisperConfig(num_mel_bins=80))
    return _cached(lambda row, seed: _pool(front(*_wave(row))[0].T))


def _cached(one: Callable[[Row, int], np.ndarray]) -> Features:
    known: dict[str, np.ndarray] = {}

    def features(rows: Sequence[Row], seed: int) -> np.ndarray:
        for row in rows:
            if row.audio not in known:
                known[row.audio] = one(row, seed)
        return np.stack([known[row.audio] for row in rows])

    return features


@torch.no_grad()
def _states(network: backbones.Backbone, row: Row) -> np.ndarray:
    return _pool(network(*_wave(row))[-1][0])


def _pool(frames: torch.Tensor) -> np.ndarray:  # (time, width)
    return torch.cat([frames.mean(0), frames.std(0)]).float().numpy()


def _wave(row: Row) -> tuple[torch.Tensor, torch.Tensor]:
    wave = torch.from_numpy(audio.read(row.audio, 16_000, row.start, row.end))[None]
    return wave, torch.tensor([wave.shape[1]])


def _probe(train: np.ndarray, known: Sequence[Row], test: np.ndarray, unseen: Sequence[Row], label: str) -> float:
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
    model.fit(train, [row.labels[label] for row in known])
    return float(model.score(test, [row.labels[label] for row in unseen]))


if __name__ == "__main__":
    main()
