"""The encoder that comes with Pegbox: an ordinary `transformers` checkpoint, small, with the same numbers there."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from transformers import HubertModel, Wav2Vec2FeatureExtractor

import pegbox
from pegbox import backbones, registry
from pegbox.training.plans import plan

FOLDER = backbones.shipped()["tiny"]


def test_it_is_small_and_says_what_it_is() -> None:
    assert (FOLDER / "model.safetensors").stat().st_size <= 8_000_000
    model = HubertModel.from_pretrained(FOLDER)
    assert sum(parameter.numel() for parameter in model.parameters()) <= 4_000_000
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert all(word in card for word in ("Data", "Recipe", "Scores", "Licence", "Limits"))
    assert "tiny" in registry.shipped()


def test_the_library_and_pegbox_agree() -> None:
    draw = np.random.default_rng(0)
    wave = (0.1 * draw.standard_normal(16_000)).astype(np.float32)
    extractor = Wav2Vec2FeatureExtractor.from_pretrained(FOLDER)
    model = HubertModel.from_pretrained(FOLDER).float().eval()
    with torch.no_grad():
        theirs = model(extractor(wave, sampling_rate=16_000, return_tensors="pt").input_values).last_hidden_state
        ours = pegbox.load_backbone("tiny")(torch.from_numpy(wave)[None], torch.tensor([16_000]))[-1]
    torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=1e-4)


def test_a_local_folder_of_that_name_comes_first(hubert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tiny").symlink_to(hubert)
    monkeypatch.chdir(tmp_path)
    assert pegbox.load_backbone("tiny").width == 16
    (tmp_path / "other" / "tiny").mkdir(parents=True)  # holds no checkpoint: results of somebody's, say
    monkeypatch.chdir(tmp_path / "other")
    assert pegbox.load_backbone("tiny").width == 256


def test_a_run_on_it_moves_to_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(0)
    for name, pitch in (("low", 200), ("high", 2500)):
        (tmp_path / "clips" / name).mkdir(parents=True)
        for number in range(8):
            tone = np.sin(2 * np.pi * pitch * draw.uniform(0.9, 1.1) * np.arange(8_000) / 16_000)
            soundfile.write(tmp_path / "clips" / name / f"{number}.wav", 0.3 * tone, 16_000)
    recipe = {
        "backbone": "tiny",
        "method": "lora(rank=2)",
        "task": 'classify(label="class")',
        "corpus": f'folder(root="{tmp_path / "clips"}")',
        "train": {"epochs": 4},
    }
    assert plan(pegbox.Recipe(**recipe | {"train": {}})).family == "hubert"
    result = pegbox.train(recipe, tmp_path / "run")
    assert result["scores"]["test"]["accuracy"] == 1.0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    (said,) = pegbox.load(tmp_path / "run").predict([tmp_path / "clips" / "high" / "0.wav"])
    assert said["said"] == "high"
