"""VITS as a task's network: its loss without discriminators, alignments that are exact, and sound of its own."""

from importlib.util import find_spec
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from _cut import ends_with_the_same_numbers
from _texts import RATE, save_hifigan, save_texts, save_vits

import pegbox
from pegbox import audio, backbones
from pegbox.backbones import Speaker, Taught
from pegbox.backbones._monotonic import durations
from pegbox.errors import RecipeError
from pegbox.recipe import make
from pegbox.run import open_model, speaking
from pegbox.say import say
from pegbox.training.plans import plan
from pegbox.training.prepare import corpus_rows

pytestmark = pytest.mark.skipif(not find_spec("pyworld"), reason="pyworld is not installed: pegbox[speech]")

FLOW = 'lora(rank=2, at=["up", "down"], blocks="flow.*")'


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_vits(tmp_path_factory.mktemp("vits"))


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_texts(tmp_path_factory.mktemp("texts"))


def settings_of(network: Path, clips: Path, method: str = "lora(rank=2)", **changes: Any) -> dict[str, Any]:
    made = {"backbone": str(network), "method": method, "task": "synthesize", "corpus": f'manifest(path="{clips}")'}
    return made | {"train": {"epochs": 2, "batch_clips": 3} | changes.pop("train", {})} | changes


def best_by_trial(scores: np.ndarray) -> float:
    """Returns the largest sum over all monotonic paths."""
    units, time = scores.shape
    cuts = ([0, *inner, time] for inner in combinations(range(1, time), units - 1))
    return max(sum(scores[unit, start:end].sum() for unit, (start, end) in enumerate(pairwise(cut))) for cut in cuts)


@pytest.mark.parametrize(("units", "time"), [(1, 1), (1, 5), (4, 4), (3, 8), (5, 9)])
def test_an_alignment_is_the_best_of_all(units: int, time: int) -> None:
    for seed in range(5):
        scores = np.random.default_rng(seed).normal(size=(units, time))
        found = durations(scores)
        assert found.sum() == time and found.min() >= 1
        which = np.repeat(np.arange(units), found)
        assert scores[which, np.arange(time)].sum() == pytest.approx(best_by_trial(scores), abs=1e-12)


@pytest.mark.parametrize(
    "method",
    [
        "bottleneck(size=4)",
        'lora(rank=2, at=["up", "down"], blocks="flow.*")',
        "prefix(length=2) + bitfit",
        "full",
        "ipet",
    ],
)
def test_every_method_trains_each_of_its_tensors(method: str, network: Path, clips: Path, tmp_path: Path) -> None:
    """The engine stops where a trained tensor has had no gradient: not even `full` has one."""
    before = backbones.load_speaker(str(network)).fingerprint()
    result = pegbox.train(settings_of(network, clips, method), tmp_path / "run")
    assert result["parameters"]["delta"] > 0 == result["parameters"]["head"]
    assert set(result["scores"]["test"]) == {"mel_mcd", "mcd", "mcd_unwarped", "log_f0_rmse", "voicing_error"}
    assert backbones.load_speaker(str(network)).fingerprint() == before
    run = pegbox.load(tmp_path / "run")
    assert str(run.evaluate()) == str(result["scores"]["test"])  # nothing may be voiced: no pitch, NaN
    assert plan(run.recipe).parameters["delta"] == result["parameters"]["delta"]


def test_voices_and_durations_that_are_drawn_are_taught_too(clips: Path, tmp_path: Path) -> None:
    network = save_vits(tmp_path / "network", voices=3, stochastic=True)
    settings = settings_of(network, clips, "full", task="synthesize(voice=2)", train={"steps": 2})
    result = pegbox.train(settings, tmp_path / "run")
    assert np.isfinite(result["scores"]["test"]["mel_mcd"])
    with pytest.raises(RecipeError, match="the network has 3 voices"):
        plan(make(settings_of(network, clips, task="synthesize(voice=3)")))


def test_an_interrupted_run_ends_with_the_same_numbers(network: Path, clips: Path, tmp_path: Path) -> None:
    """Noise and segments are drawn anew in each step, and go on where they were."""
    settings = settings_of(network, clips, "bottleneck(size=4)", train={"validate_steps": 2, "epochs": 3})
    ends_with_the_same_numbers(settings, tmp_path, step=3)


def taught(speaker: Speaker, clips: Path, padded: int) -> Taught:
    """Returns one clip, with so much padding."""
    row = corpus_rows(make(settings_of(Path(speaker.source), clips)), None)[0]
    wave = torch.from_numpy(audio.read(row.audio, RATE))
    units = torch.tensor([0, 6, 0, 7, 0, 8, 0])
    return Taught(
        torch.nn.functional.pad(units, (0, padded))[None],
        torch.tensor([len(units)]),
        wave=torch.nn.functional.pad(wave, (0, 700 * padded), value=float("nan"))[None],
    )


def test_what_is_learnt_lowers_the_loss(network: Path, clips: Path) -> None:
    speaker, found = backbones.load_speaker(str(network)), []
    optimiser = torch.optim.Adam(speaker.core.requires_grad_(True).parameters(), lr=3e-3)
    for _ in range(12):
        with speaker.steady():
            loss = speaker.loss(taught(speaker, clips, 0))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        found.append(float(loss.detach()))
    assert found[-1] < 0.8 * found[0]


def test_padding_leaves_no_trace(network: Path, clips: Path) -> None:
    speaker = backbones.load_speaker(str(network))
    speaker.core.posterior_encoder.conv_proj.weight.data[8:] = 0.0  # type: ignore[union-attr, index, operator]
    speaker.core.posterior_encoder.conv_proj.bias.data[8:] = -30.0  # type: ignore[union-attr, index, operator]
    found = []
    for padded in (0, 3):  # a posterior without width: noise of another shape changes nothing
        with speaker.steady():
            found.append(float(speaker.loss(taught(speaker, clips, padded))))
    assert found[0] == pytest.approx(found[1], rel=1e-5)


def test_a_run_makes_sound_by_itself_and_always_the_same(network: Path, clips: Path, tmp_path: Path) -> None:
    pegbox.train(settings_of(network, clips, train={"steps": 2}), tmp_path / "run")
    run = pegbox.load(tmp_path / "run")
    first, second = (say(run, "Abba cab! A dab?") for _ in range(2))
    assert first.rate == RATE and np.array_equal(first.wave, second.wave) and np.abs(first.wave).max() > 0
    lesson = speaking(open_model(run))
    units = lesson.primer.units("abba")  # type: ignore[attr-defined]
    torch.manual_seed(0)
    with torch.no_grad():
        assert np.array_equal(lesson.say(units), lesson.speaker.core(units[None]).waveform[0].numpy())
    vocoder = save_hifigan(tmp_path / "vocoder", "hifigan")
    refused = {f'vocoder="{vocoder}"': "vits makes sound by itself", 'embedding="x.npy"': "no embedding"}
    for option, message in refused.items():
        with pytest.raises(RecipeError, match=message):
            plan(make(settings_of(network, clips, task=f"synthesize({option})")))
