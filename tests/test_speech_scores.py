"""Mel frames, pitch and the distances of speech: golden values, invariances, and brute force on small cases."""

import math
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pegbox.mel import Analysis, cepstra, warp
from pegbox.tasks._speech_scores import DECIBELS, Heard, compare, mean_scores

needs_pyworld = pytest.mark.skipif(not find_spec("pyworld"), reason="pyworld is not installed: pegbox[speech]")
ANALYSIS = Analysis()


def heard(log_mel: torch.Tensor, pitch: list[float] | None = None) -> Heard:
    return Heard(cepstra(log_mel).numpy(), np.array(pitch or [0.0] * len(log_mel)))


def pulses(hertz: float, seconds: float = 0.5) -> np.ndarray:
    times = np.arange(int(seconds * ANALYSIS.rate)) / ANALYSIS.rate
    return 0.05 * sum(np.sin(2 * np.pi * hertz * n * times) for n in range(1, 20))


def test_a_tilt_costs_the_root_mean_square_of_its_decibels() -> None:
    places = (torch.arange(80) + 0.5) * math.pi / 80
    flat = torch.zeros(5, 80)
    tilted = flat + 0.3 * torch.cos(3 * places)
    found = compare(heard(flat), heard(tilted))
    assert math.isclose(DECIBELS, 6.141851463713754)
    assert math.isclose(found["mcd"], 0.3 * DECIBELS, rel_tol=1e-6)
    decibels = 20 / math.log(10) * (tilted - flat)
    assert math.isclose(found["mcd"], float(decibels.square().mean().sqrt()), rel_tol=1e-5)


def test_loudness_and_what_the_first_thirteen_cepstra_do_not_hold_cost_nothing() -> None:
    places = (torch.arange(80) + 0.5) * math.pi / 80
    one = torch.randn(6, 80, generator=torch.Generator().manual_seed(0))
    assert compare(heard(one), heard(one + 2.0))["mcd"] < 1e-4
    assert compare(heard(one), heard(one + torch.cos(14 * places)))["mcd"] < 1e-4


def test_warping_forgives_what_lasts_longer_and_the_plain_score_does_not() -> None:
    one = torch.randn(8, 80, generator=torch.Generator().manual_seed(1))
    longer = one.repeat_interleave(torch.tensor([1, 3, 1, 1, 2, 1, 1, 1]), 0)
    found = compare(heard(longer), heard(one))
    assert found["mcd"] < 1e-4 and found["mcd_unwarped"] > 1 and found["pairs"] == len(longer)


def cheapest(costs: np.ndarray, row: int, column: int) -> float:
    """The cheapest path to a cell, by trying all."""
    if row == 0 and column == 0:
        return float(costs[0, 0])
    before = [(row - 1, column - 1), (row - 1, column), (row, column - 1)]
    return float(costs[row, column]) + min(cheapest(costs, *place) for place in before if min(place) >= 0)


@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 1000))
@settings(deadline=None, max_examples=60)
def test_the_path_is_the_cheapest_of_all(rows: int, columns: int, seed: int) -> None:
    costs = np.random.default_rng(seed).random((rows, columns))
    here, there = warp(costs)
    assert math.isclose(costs[here, there].sum(), cheapest(costs, rows - 1, columns - 1))
    assert (here[0], there[0]) == (0, 0) and (here[-1], there[-1]) == (rows - 1, columns - 1)
    steps = set(zip(np.diff(here).tolist(), np.diff(there).tolist(), strict=True))
    assert steps <= {(0, 1), (1, 0), (1, 1)}


def test_pitch_and_voicing_of_a_set_are_averaged_over_its_frames() -> None:
    one = torch.randn(4, 80, generator=torch.Generator().manual_seed(2))
    octave = compare(heard(one, [200, 200, 0, 100]), heard(one, [100, 100, 100, 0]))
    assert math.isclose(octave["pitch_error"], 2 * math.log(2) ** 2)
    assert (octave["both_voiced"], octave["voicing_error"], octave["pairs"]) == (2, 2, 4)
    exact = compare(heard(one, [100] * 4), heard(one, [100] * 4))
    found = mean_scores([octave | {"duration_error": 10.0}, exact | {"duration_error": 0.0}])
    assert math.isclose(found["log_f0_rmse"], math.sqrt(2 * math.log(2) ** 2 / 6))
    assert found["voicing_error"] == 0.25 and found["duration_error"] == 5.0
    silent = compare(heard(one), heard(one)) | {"duration_error": 0.0}
    assert math.isnan(mean_scores([silent])["log_f0_rmse"])


def test_error_rates_of_a_set_are_sums_over_sums_and_similarity_is_a_mean() -> None:
    clips = [
        {"speaker_similarity": 0.5, "wer": (1, 2), "cer": (3, 10)},
        {"speaker_similarity": 1.0, "wer": (0, 6), "cer": (0, 20)},
    ]
    assert mean_scores(clips) == {"speaker_similarity": 0.75, "wer": 1 / 8, "cer": 0.1}
    assert mean_scores([{"per": [5, 4]}]) == {"per": 1.25}


@needs_pyworld
@pytest.mark.parametrize("hertz", [90, 150, 300])
def test_the_pitch_of_a_known_sound(hertz: int) -> None:
    wave = pulses(hertz)
    found = ANALYSIS.pitch(wave)
    assert len(found) == ANALYSIS.frames(len(wave)) == len(ANALYSIS.log_mel(wave))
    middle = found[6:-6]
    assert np.abs(middle - hertz).max() < 0.02 * hertz
    assert not ANALYSIS.pitch(np.zeros(8_000)).any()


def test_sound_made_of_frames_has_these_frames() -> None:
    wave = pulses(150)
    frames = ANALYSIS.log_mel(wave)
    again = ANALYSIS.wave(frames)
    assert abs(len(again) - len(wave)) < ANALYSIS.hop
    assert compare(heard(ANALYSIS.log_mel(again)), heard(frames))["mcd"] < 3.0
    assert np.array_equal(again, ANALYSIS.wave(frames)), "the same frames sound differently"


def test_silence_lies_at_the_floor() -> None:
    assert torch.allclose(ANALYSIS.log_mel(np.zeros(4_000)), torch.tensor(math.log(ANALYSIS.floor)))
