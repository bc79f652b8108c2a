"""A HiFi-GAN of a caller's: sound as transformers makes it, the same again, and only of frames that fit."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from _speaker import RATE, save_speaker, save_units
from transformers import (
    FastSpeech2ConformerHifiGan,
    FastSpeech2ConformerHifiGanConfig,
    FastSpeech2ConformerWithHifiGan,
    FastSpeech2ConformerWithHifiGanConfig,
)

import pegbox
from pegbox import backbones
from pegbox.corpora.synthetic import _espeak
from pegbox.errors import RecipeError, WeightsError
from pegbox.recipe import make
from pegbox.run import open_model, speaking
from pegbox.say import say
from pegbox.training.plans import plan
from pegbox.training.prepare import corpus_rows

pytestmark = pytest.mark.skipif(not find_spec("pyworld"), reason="pyworld is not installed: pegbox[speech]")
needs_speech = pytest.mark.skipif(not _espeak.available(), reason="eSpeak NG is not installed: pegbox[speech]")


def shape(bands: int = 20, rates: tuple[int, ...] = (16, 16), **more: Any) -> FastSpeech2ConformerHifiGanConfig:
    return FastSpeech2ConformerHifiGanConfig(
        model_in_dim=bands,
        upsample_initial_channel=8,
        upsample_rates=list(rates),
        upsample_kernel_sizes=[2 * rate for rate in rates],
        resblock_kernel_sizes=[3],
        resblock_dilation_sizes=[[1, 3]],
        **more,
    )


def save_vocoder(folder: Path, **changed: Any) -> Path:
    """Returns the folder of a tiny HiFi-GAN with random weights: 20 bands, 256 samples a frame."""
    torch.manual_seed(0)
    FastSpeech2ConformerHifiGan(shape(**changed)).save_pretrained(folder)
    return folder


def settings_of(folder: Path, vocoder: object) -> dict[str, Any]:
    if not (folder / "network").exists():
        save_speaker(folder / "network")
        save_units(folder / "units")
    made = {"backbone": str(folder / "network"), "method": "lora(rank=2)", "task": f'synthesize(vocoder="{vocoder}")'}
    return made | {"corpus": f'manifest(path="{folder / "units" / "manifest.jsonl"}")', "train": {"steps": 2}}


def test_a_run_speaks_by_the_vocoder_that_it_names(tmp_path: Path) -> None:
    vocoder = save_vocoder(tmp_path / "vocoder")
    result = pegbox.train(settings_of(tmp_path, vocoder), tmp_path / "run")
    run = pegbox.load(tmp_path / "run")
    assert run.evaluate() == result["scores"]["test"]
    lesson = speaking(open_model(run))
    row = next(row for row in corpus_rows(run.recipe, None) if row.split == "test")
    mel = torch.randn(12, 20, generator=torch.Generator().manual_seed(0))
    assert lesson.wave(mel).shape == (12 * 256,) and np.array_equal(lesson.wave(mel), lesson.wave(mel))
    assert np.array_equal(lesson.wave(mel), FastSpeech2ConformerHifiGan.from_pretrained(vocoder)(mel).detach().numpy())
    kept, _ = soundfile.read(tmp_path / "run" / "samples" / f"{row.id}-said.wav", dtype="float32")
    assert len(kept) % 256 == 0 and np.abs(kept - lesson.sound(row)).max() < 1e-4
    assert len(lesson.copied(row)) == 256 * (1 + soundfile.info(row.audio).frames // 256)


def test_a_checkpoint_of_both_networks_gives_its_vocoder_and_the_same_sound(tmp_path: Path) -> None:
    """What transformers' own pair says of a text is what the same vocoder makes of the network's frames."""
    save_speaker(tmp_path / "network")
    save_vocoder(tmp_path / "vocoder")
    config = FastSpeech2ConformerWithHifiGanConfig(
        model_config=json.loads((tmp_path / "network" / "config.json").read_text()), vocoder_config=shape().to_dict()
    )
    pair = FastSpeech2ConformerWithHifiGan(config).eval()
    pair.vocoder.load_state_dict(FastSpeech2ConformerHifiGan.from_pretrained(tmp_path / "vocoder").state_dict())
    network = backbones.load_speaker(str(tmp_path / "network"))
    pair.model.load_state_dict(network.core.state_dict())
    pair.save_pretrained(tmp_path / "pair")
    units = torch.tensor([1, 2, 3, 2, 1])
    with torch.no_grad():
        wanted = pair(input_ids=units[None], speaker_ids=torch.tensor([0]), return_dict=True).waveform.squeeze()
        made = backbones.load_vocoder(str(tmp_path / "pair"))(network.speak(units, 0)[0])
    assert torch.allclose(made, wanted, atol=1e-6)


def test_another_vocoder_in_the_same_folder_is_seen(tmp_path: Path) -> None:
    vocoder = save_vocoder(tmp_path / "vocoder")
    result = pegbox.train(settings_of(tmp_path, vocoder) | {"train": {"steps": 1}}, tmp_path / "run")
    run = pegbox.load(tmp_path / "run")
    (digest,) = result["beside"].values()
    assert digest == backbones.vocoder_digest(speaking(open_model(run))._vocoder)  # type: ignore[arg-type]
    told = json.loads((vocoder / "config.json").read_text())
    (vocoder / "config.json").write_text(json.dumps(told | {"leaky_relu_slope": 0.2}))
    with pytest.raises(WeightsError, match=f"made with a vocoder of digest {digest}, and here is "):
        run.evaluate()
    (vocoder / "config.json").write_text(json.dumps(told))
    assert run.evaluate() == result["scores"]["test"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"bands": 80}, "it has 80 Mel bands, the network 20"),
        ({"rates": (8, 8)}, "it has 64 samples a frame, the network 256"),
        ({"sampling_rate": 22_050}, f"it has 22050 Hz, the network {RATE}"),
    ],
)
def test_a_vocoder_for_other_frames_is_refused_before_training(
    changed: dict[str, Any], message: str, tmp_path: Path
) -> None:
    vocoder = save_vocoder(tmp_path / "vocoder", **changed)
    (vocoder / "model.safetensors").unlink()  # no weights are read for it
    with pytest.raises(RecipeError, match=message):
        plan(make(settings_of(tmp_path, vocoder)))


def test_what_is_no_vocoder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"'fastspeech2_conformer' is no vocoder; known: fastspeech2_conformer_hif"):
        plan(make(settings_of(tmp_path, tmp_path / "network")))
    (tmp_path / "empty").mkdir()
    with pytest.raises(WeightsError, match="no vocoder can be read here"):
        plan(make(settings_of(tmp_path, tmp_path / "empty")))


@needs_speech
def test_say_uses_what_the_run_says(tmp_path: Path) -> None:
    vocoder = save_vocoder(tmp_path / "vocoder", bands=80)
    lines = [
        {"path": f"{n}.wav", "split": split, "phonemes": "n oʊ", "times": '[["n", 0.0, 0.1], ["oʊ", 0.1, 0.25]]'}
        for n, split in enumerate(("train", "train", "valid", "test"))
    ]
    for line in lines:
        soundfile.write(tmp_path / line["path"], 0.1 * np.sin(np.arange(4_000) / 20), RATE)
    (tmp_path / "clips.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    settings = {"backbone": "tiny_voice", "method": "lora(rank=2)", "task": f'synthesize(vocoder="{vocoder}")'}
    settings |= {"corpus": f'manifest(path="{tmp_path / "clips.jsonl"}")', "train": {"steps": 1}}
    pegbox.train(settings, tmp_path / "run")
    said = say(pegbox.load(tmp_path / "run"), "no")
    assert said.rate == RATE and len(said.wave) % 256 == 0 and np.abs(said.wave).max() <= 1
