"""Sound that is heard louder or quieter than its file: in training, from the cache, in predictions, among queries."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from _made import RATE
from _same import classifying

import pegbox
from pegbox import audio, backbones
from pegbox.errors import RecipeError
from pegbox.query import search
from pegbox.recipe import Recipe
from pegbox.rows import Row, wave
from pegbox.training.cache import Layout, StateCache
from pegbox.training.feed import Feed


def recipe_of(hubert: Path, tones: Path, gain: float) -> Recipe:
    return classifying(hubert, tones, {"epochs": 2, "accumulate": 1, "head_lr": 1e-2}, gain=gain)


def test_decibels_are_those_of_amplitudes(tones: Path) -> None:
    path = str(next(tones.rglob("*.flac")))
    plain = audio.read(path, RATE, 0.05, 0.1)
    found = wave(Row("a", path, start=0.05, end=0.1, gain=-3.0), RATE)
    np.testing.assert_allclose(found, plain * 0.70795, rtol=1e-5)
    assert found.dtype == np.float32
    assert np.array_equal(wave(Row("a", path, start=0.05, end=0.1), RATE), plain)


def test_one_file_at_two_gains_is_two_clips(hubert: Path, tones: Path, tmp_path: Path) -> None:
    backbone = backbones.load(str(hubert))
    plain = Row("a", str(next(tones.rglob("*.flac"))))
    quiet = replace(plain, gain=-20.0)
    cache = StateCache(tmp_path, backbone, Layout("pooled", (0, 1, 2), backbone.width, "fp32"))
    for row in (plain, quiet):  # the second must not be taken for the first
        assert list(cache.fill([row])) == [1]
    assert not torch.equal(cache.get(plain), cache.get(quiet))
    feed = Feed(backbone, None)
    np.testing.assert_allclose(feed.wave(quiet), 0.1 * feed.wave(plain), rtol=1e-5)
    batch = feed.batch([quiet])
    *_, last = backbone.fold(backbone.stem(batch.x, batch.lengths))
    torch.testing.assert_close(last.mean(1)[0], cache.get(quiet)[-1], rtol=1e-4, atol=1e-5)


def test_a_run_on_quiet_sound_predicts_so(hubert: Path, tones: Path, tmp_path: Path) -> None:
    """A run at -60 dB hears loud files as it would hear quiet ones without a gain."""
    quieter = tmp_path / "quieter"
    for path in tones.rglob("*.flac"):
        place = quieter / path.parent.name / path.name
        place.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(place, 0.001 * audio.read(path, RATE), RATE, subtype="PCM_24")
    told = pegbox.train(recipe_of(hubert, tones, -60.0), tmp_path / "told")
    made = pegbox.train(recipe_of(hubert, quieter, 0.0), tmp_path / "made")
    loud = pegbox.train(recipe_of(hubert, tones, 0.0), tmp_path / "loud")
    logits = []
    for name, folder in (("told", tones), ("made", quieter), ("loud", quieter)):
        found = pegbox.load(tmp_path / name).predict(sorted(folder.rglob("*.flac")))
        logits.append([list(each["probabilities"].values()) for each in found])
    assert told["scores"].keys() == made["scores"].keys() == loud["scores"].keys()
    np.testing.assert_allclose(logits[0], logits[1], rtol=1e-2, atol=1e-4)
    assert np.abs(np.array(logits[0]) - logits[2]).max() > 1e-3


def test_queries_are_sought_in_quiet_sound(hubert: Path, tones: Path, tmp_path: Path) -> None:
    clips = sorted(tones.rglob("*.flac"))[:5]
    lines = ["path,split,role,documents"]
    lines += [f"{clips[0]},valid,query,{clips[2]}", f"{clips[1]},test,query,{clips[3]}"]
    lines += [f"{clip},train,document," for clip in clips[2:]]
    (tmp_path / "clips.csv").write_text("\n".join(lines) + "\n")
    corpus = f'manifest(path="{tmp_path}/clips.csv")'
    found = [
        (tmp_path / f"{gain}", search(str(hubert), corpus, tmp_path / f"{gain}", cache=str(tmp_path / "c"), gain=gain))
        for gain in (0.0, -20.0)
    ]
    assert [result["gain"] for _, result in found] == [0.0, -20.0]
    one, other = ((folder / "predictions.jsonl").read_text() for folder, _ in found)
    assert one != other


def test_a_recipe_without_a_gain_keeps_its_identity_and_a_strange_one_is_refused(hubert: Path, tones: Path) -> None:
    assert recipe_of(hubert, tones, 0.0).digest != recipe_of(hubert, tones, -3.0).digest
    with pytest.raises(RecipeError, match=r"gain=120.0: decibels, from -100 to 100"):
        recipe_of(hubert, tones, 120)
