"""The synthesis network that comes with Pegbox, and what `pegbox say` does with texts of all kinds."""

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import soundfile
from transformers import FastSpeech2ConformerModel
from typer.testing import CliRunner

import pegbox
from pegbox import backbones, registry
from pegbox.cli import app
from pegbox.corpora.synthetic import _espeak
from pegbox.corpora.synthetic._espeak import Synthesizer, Voice, bare
from pegbox.errors import PegboxError, RecipeError
from pegbox.mel import cepstra
from pegbox.run import Run
from pegbox.say import Said, say, write
from pegbox.tasks._speech_scores import warped
from pegbox.training import script
from pegbox.training.reading import LONGEST
from pegbox.training.script import script_of

FOLDER = backbones.shipped()["tiny_voice"]
TEXTS = ("the boy sees a small boat", "her cat wants cheese", "three apples", "a green chair", "my sister paints")
needs_speech = pytest.mark.skipif(
    not (_espeak.available() and find_spec("pyworld")), reason="eSpeak NG or pyworld is not installed: pegbox[speech]"
)


def test_it_is_small_and_says_what_it_is() -> None:
    assert (FOLDER / "model.safetensors").stat().st_size <= 12_000_000
    model = FastSpeech2ConformerModel.from_pretrained(FOLDER)
    assert sum(parameter.numel() for parameter in model.parameters()) <= 6_000_000
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert all(word in card for word in ("Data", "Recipe", "Scores", "Licence", "Limits"))
    assert "tiny_voice" in registry.shipped()
    with pytest.raises(RecipeError, match="reads text, not waveforms"):
        pegbox.load_backbone("tiny_voice")


@needs_speech
def test_it_speaks_as_its_voices_do() -> None:
    """A voice that it knows says a sentence that it does not: nearer than another of its voices is."""
    speaker, speech = backbones.load_speaker("tiny_voice"), Synthesizer()
    told, analysis = script_of(speaker), script_of(speaker).analysis
    voices = speaker.front_settings.settings["voices"]
    text = "the young doctor forgets three letters by the river"
    spoken = {name: speech.say(text, Voice(told.language, name)) for name in (voices[0], voices[1])}
    times = [(bare(symbol), start, end) for symbol, start, end in spoken[voices[0]].phonemes]
    whole = script.paused(times, len(spoken[voices[0]].wave) / analysis.rate, 2 * analysis.seconds)
    mel, frames = speaker.speak(told.numbers([unit for unit, _, _ in whole], text), 0)
    said = cepstra(told.logarithms(mel)).numpy()
    own, other = (cepstra(analysis.log_mel(spoken[name].wave)).numpy() for name in spoken)
    assert len(mel) == int(frames.sum()) and abs(len(said) / len(own) - 1) < 0.15
    assert warped(said, own) < min(4.0, warped(said, other))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that has hardly been tuned: what it says is the network's."""
    folder, speech, lines = tmp_path_factory.mktemp("voice"), Synthesizer(), []
    for number, text in enumerate(TEXTS):
        spoken = speech.say(text, Voice("en-us", "Andrea"))
        times = [(bare(symbol), round(start, 3), round(end, 3)) for symbol, start, end in spoken.phonemes]
        soundfile.write(folder / f"{number}.wav", spoken.wave, 16_000)
        split = "train" if number < 3 else "valid" if number < 4 else "test"
        phonemes = " ".join(symbol for symbol, _, _ in times)
        lines.append({"path": f"{number}.wav", "split": split, "phonemes": phonemes, "times": json.dumps(times)})
    (folder / "clips.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    corpus = f'manifest(path="{folder / "clips.jsonl"}")'
    recipe = {"backbone": "tiny_voice", "method": "lora(rank=2)", "task": "synthesize", "corpus": corpus}
    pegbox.train(recipe | {"train": {"steps": 2}}, folder / "run")
    return pegbox.load(folder / "run")


def seconds(said: Said) -> float:
    assert np.isfinite(said.wave).all() and np.abs(said.wave).max() > 0.01
    return len(said.wave) / said.rate


@needs_speech
def test_digits_and_signs_are_read_out(run: Run) -> None:
    short, long = say(run, "apples"), say(run, "12.5 % of 300 apples")
    assert long.parts == ("12.5 % of 300 apples",)
    assert seconds(long) > seconds(short) + 1.5


@needs_speech
def test_a_pause_follows_a_part(run: Run) -> None:
    alone, twice = say(run, "Three apples."), say(run, "Three apples. Three apples.")
    assert twice.parts == ("Three apples.", "Three apples.")
    assert seconds(twice) >= 2 * seconds(alone) + 0.2
    assert np.array_equal(alone.wave, say(run, "Three apples.").wave)


@needs_speech
def test_five_hundred_words_are_said_in_parts(run: Run) -> None:
    said = say(run, "eye " * 500)
    assert len(said.parts) == -(-500 // LONGEST)
    assert seconds(said) > 500 * 0.05


@needs_speech
@pytest.mark.parametrize(
    ("text", "message"), [("", "nothing to say"), ("?! …", "nothing to say"), ("Привет", "another script than Latin")]
)
def test_what_cannot_be_said_is_refused(text: str, message: str, run: Run) -> None:
    with pytest.raises(RecipeError, match=message):
        say(run, text)


@needs_speech
def test_the_command_writes_sound(run: Run, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["say", str(run.folder), "three apples", "--out", str(tmp_path / "out.wav")])
    assert done.exit_code == 0, done.output
    assert soundfile.info(tmp_path / "out.wav").samplerate == 16_000
    with pytest.raises(PegboxError, match="cannot be written"):
        write(Said(np.zeros(10, np.float32), 16_000, ("",)), tmp_path / "out.docx")
