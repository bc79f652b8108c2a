"""The settings that a synthesis checkpoint without any is given by `recipes/voice/settings.py`."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from _speaker import RATE, SETTINGS, SYMBOLS, save_speaker, save_units

import pegbox
from pegbox.errors import WeightsError
from pegbox.recipe import make
from pegbox.training.plans import plan

pytestmark = pytest.mark.skipif(not find_spec("pyworld"), reason="pyworld is not installed: pegbox[speech]")
PROGRAM = Path(__file__).parents[1] / "recipes" / "voice" / "settings.py"


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A checkpoint as it is published: symbols in `vocab.json`, a comma where nobody speaks, and no scales."""
    folder = save_speaker(tmp_path / "network")
    (folder / "preprocessor_config.json").unlink()
    told = ["<blank>", *("," if symbol == "_" else symbol for symbol in SYMBOLS)]
    (folder / "vocab.json").write_text(json.dumps({symbol: number for number, symbol in enumerate(told)}))
    return folder


def run(folder: Path, corpus: str, *more: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, str(PROGRAM), str(folder), "--corpus", corpus, "--rate", str(RATE), "--window", "512"]
    words += ["--lowest", "0", "--highest", "0", *more]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def test_a_checkpoint_without_settings_is_given_its_scales_and_learns(bare: Path, tmp_path: Path) -> None:
    corpus = f'manifest(path="{save_units(tmp_path / "units")}")'
    train = {"epochs": 1, "batch_clips": 4}
    recipe = {"backbone": str(bare), "method": "bitfit", "task": "synthesize", "corpus": corpus, "train": train}
    with pytest.raises(WeightsError, match=r"recipes/voice"):
        plan(make(recipe))
    done = run(bare, corpus)
    assert done.returncode == 0, done.stderr
    found = json.loads((bare / "preprocessor_config.json").read_text())
    assert found.keys() == {*SETTINGS} and found["symbols"] == SYMBOLS
    assert len(found["mel"][0]) == 20 and min(found["mel"][1]) > 0
    assert 4.7 < found["pitch"][0] < 5.5  # ln Hz of tones of 120 and 220 Hz
    assert pegbox.train(recipe, tmp_path / "run")["parameters"]["delta"] > 0
    again = run(bare, corpus)
    assert again.returncode and "is there already" in again.stderr


def test_what_cannot_be_meant_writes_nothing(bare: Path, tmp_path: Path) -> None:
    corpus = f'manifest(path="{save_units(tmp_path / "units")}")'
    for more, message in (
        (("--pause", "x"), "'x' is none behind the padding"),
        (("--pause", "<blank>"), "is none behind the padding"),
        (("--pause", "a"), "the network has no symbol for 'a'"),
    ):
        done = run(bare, corpus, *more)
        assert done.returncode == 1 and message in done.stderr, done.stderr
    assert not (bare / "preprocessor_config.json").exists()
