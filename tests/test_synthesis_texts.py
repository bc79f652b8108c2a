"""Synthesis by networks that read texts: SpeechT5 frame after frame; their losses, voices, texts and sound."""

import json
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from _cut import ends_with_the_same_numbers
from _refused import refused_by
from _texts import RATE, WIDTH, save_hifigan, save_speecht5, save_texts, save_vits
from transformers import SpeechT5FeatureExtractor

import pegbox
from pegbox import audio, backbones
from pegbox.errors import CorpusError, PegboxError, RecipeError, WeightsError
from pegbox.mel import Analysis
from pegbox.recipe import make
from pegbox.run import open_model, speaking
from pegbox.say import say
from pegbox.tasks import build
from pegbox.training.casting import voice_of
from pegbox.training.plans import plan
from pegbox.training.prepare import corpus_rows
from pegbox.training.texts import Texts

pytestmark = pytest.mark.skipif(not find_spec("pyworld"), reason="pyworld is not installed: pegbox[speech]")


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_speecht5(tmp_path_factory.mktemp("speecht5"))


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_texts(tmp_path_factory.mktemp("texts"))


def settings_of(network: Path, clips: Path, **changes: Any) -> dict[str, Any]:
    task = f'synthesize(embedding="{network / "voice.npy"}"{changes.pop("more", "")})'
    made = {"backbone": str(network), "method": "lora(rank=2)", "task": task, "corpus": f'manifest(path="{clips}")'}
    return made | {"train": {"epochs": 2, "batch_clips": 3} | changes.pop("train", {})} | changes


@pytest.fixture(scope="module")
def finished(network: Path, clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "run"
    settings = settings_of(network, clips, method="lora(rank=4) + bitfit", train={"epochs": 15, "delta_lr": 0.05})
    pegbox.train(settings, folder)
    return folder


@pytest.mark.parametrize(
    "method", ["bottleneck(size=4)", "prefix(length=3)", "ia3", "full", "shallow_prompt(length=3)"]
)
def test_every_method_trains_each_of_its_tensors(method: str, network: Path, clips: Path, tmp_path: Path) -> None:
    before = backbones.load_speaker(str(network)).fingerprint()
    result = pegbox.train(settings_of(network, clips, method=method), tmp_path / "run")
    assert result["parameters"]["delta"] > 0 == result["parameters"]["head"]
    assert set(result["scores"]["test"]) == {"mel_mcd", "mcd", "mcd_unwarped", "log_f0_rmse", "voicing_error"}
    assert backbones.load_speaker(str(network)).fingerprint() == before


def test_the_loss_falls_and_a_reloaded_run_says_the_same(finished: Path, clips: Path) -> None:
    log = [json.loads(line) for line in (finished / "log.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in log if row["event"] == "step"]
    assert np.mean(losses[-4:]) < 0.99 * np.mean(losses[:4])
    run = pegbox.load(finished)
    assert str(run.evaluate()) == str(run.result["scores"]["test"])  # nothing may be voiced: no pitch, NaN
    assert str(run.evaluate("valid")) == str(run.result["scores"]["valid"])
    best = min(row["mel_mcd"] for row in log if row["event"] == "validated")
    assert run.result["scores"]["valid"]["mel_mcd"] == pytest.approx(best, rel=1e-6)
    row = next(row for row in corpus_rows(run.recipe, None) if row.split == "test")
    first, second = (speaking(open_model(run)).sound(row) for _ in range(2))
    assert np.array_equal(first, second) and (finished / "samples" / f"{row.id}-said.wav").exists()
    assert plan(run.recipe).parameters["delta"] == run.result["parameters"]["delta"]


def test_an_interrupted_run_ends_with_the_same_numbers(network: Path, clips: Path, tmp_path: Path) -> None:
    """What the network draws is part of a checkpoint: the dropout before its decoder is never off."""
    settings = settings_of(network, clips, train={"validate_steps": 2, "epochs": 3})
    ends_with_the_same_numbers(settings, tmp_path, step=3)


def test_the_frames_are_those_of_the_librarys_extractor(network: Path, clips: Path) -> None:
    speaker, task = backbones.load_speaker(str(network)), build(settings_of(network, clips)["task"])
    primer, library = Texts(speaker), SpeechT5FeatureExtractor(num_mel_bins=20)
    for row in corpus_rows(make(settings_of(network, clips)), None)[:2]:
        wave = audio.read(row.audio, RATE)
        found = primer.learnt(row, task, wave).mel
        theirs = torch.from_numpy(library(audio_target=wave, sampling_rate=RATE).input_values[0])
        assert found.shape == theirs.shape and float((found - theirs).abs().max()) < 2e-3


def test_sound_that_is_too_short_has_no_mirror() -> None:
    analysis, draw = Analysis(mirrored=True), np.random.default_rng(0)
    short, long = (draw.normal(size=count).astype(np.float32) for count in (512, 513))
    assert torch.equal(analysis.log_mel(short), Analysis().log_mel(short))
    assert not torch.equal(analysis.log_mel(long)[0], Analysis().log_mel(long)[0])


def test_say_reads_any_text_that_the_tokenizer_knows(finished: Path) -> None:
    run = pegbox.load(finished)
    said = say(run, "Abba cab! A dab?")
    assert said.parts == ("Abba cab!", "A dab?") and said.rate == RATE and len(said.wave) > RATE // 4
    with pytest.raises(CorpusError, match="nothing for '5' 'ж'"):
        say(run, "5 ж")
    with pytest.raises(RecipeError, match="nothing to say"):
        say(run, "?!")
    with pytest.raises(CorpusError, match="tokens; the network reads 1 to 60"):
        say(run, "abcd " * 25)


@pytest.mark.parametrize("name", ["voice.npy", "vocab.json"])
def test_another_voice_or_tokenizer_in_the_same_place_is_seen(name: str, network: Path, finished: Path) -> None:
    run, kept = pegbox.load(finished), (network / name).read_bytes()
    assert set(run.result["beside"]) == {"embedding", "tokenizer"}
    np.save(network / name, np.zeros(WIDTH)) if name == "voice.npy" else (network / name).write_text('{"a": 0}')
    try:
        with pytest.raises(WeightsError, match=r"the run was made with a .* it is another one"):
            say(run, "a")
    finally:
        (network / name).write_bytes(kept)
    assert len(say(run, "a").wave)


@pytest.mark.parametrize("kind", ["speecht5_hifigan", "hifigan"])
def test_a_hifigan_of_speecht5_makes_its_sound(kind: str, network: Path, clips: Path, tmp_path: Path) -> None:
    more = f', vocoder="{save_hifigan(tmp_path / "vocoder", kind)}"'
    pegbox.train(settings_of(network, clips, more=more, train={"steps": 1}), tmp_path / "run")
    lesson = speaking(open_model(pegbox.load(tmp_path / "run")))
    assert lesson.wave(torch.zeros(12, 20)).shape == (12 * 256,)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"task": "synthesize"}, RecipeError, f"told its voice by {WIDTH} numbers"),
        ({"task": 'synthesize(embedding="none.npy")'}, RecipeError, "no .npy file can be read here"),
        ({"more": ", voice=1"}, RecipeError, "the network has 1 voices"),
        ({"more": ", align=True"}, RecipeError, "learns from texts and needs no times"),
        ({"more": ', text="words"'}, CorpusError, "no label 'words'"),
        ({"method": "linear_probe"}, RecipeError, "trains nothing inside the network"),
        ({"method": "unipelt"}, RecipeError, "has no site 'enter', for its gates"),
        ({"method": "conv_adapter"}, RecipeError, "looks across frames"),
    ],
)
def test_what_cannot_be_is_refused_by_name(
    changes: dict[str, Any], error: type[PegboxError], message: str, network: Path, clips: Path
) -> None:
    with pytest.raises(error, match=message):
        plan(make(settings_of(network, clips, **changes)))


def listed(page: str, table: str) -> list[tuple[set[str], str]]:
    """Returns the methods of each row of a table that begins so, and what the row's second column says."""
    rows = page.partition(table)[2].partition("\n\n")[0].splitlines()[2:]
    return [(set(re.findall("`([a-z0-9_]+)`", row.split("|")[1])), row.split("|")[2]) for row in rows]


@pytest.mark.parametrize("name", ["speecht5", "vits"])
def test_the_page_lists_the_methods_that_are_refused_and_no_others(
    name: str, network: Path, clips: Path, tmp_path: Path
) -> None:
    page = (Path(__file__).parents[1] / "docs" / "synthesis.md").read_text(encoding="utf-8")
    shared = [names for names, why in listed(page, "| methods | because |") if "convolutions" not in why]
    own = [names for names, by in listed(page, "| methods | refused by |") if name in by]
    made = settings_of(network, clips)
    if name == "vits":
        made |= {"backbone": str(save_vits(tmp_path)), "task": "synthesize"}
    assert refused_by(lambda method: made | {"method": method}) == set().union(*shared, *own)


def test_an_embedding_of_another_width_is_refused(network: Path, tmp_path: Path) -> None:
    speaker = backbones.outline_speaker(str(network))
    for shape, wrong in (((1, WIDTH), 0.0), ((WIDTH + 1,), 0.0), ((WIDTH,), np.nan)):
        np.save(tmp_path / "voice.npy", np.full(shape, wrong))
        task: Any = build(f'synthesize(embedding="{tmp_path / "voice.npy"}")')
        if shape == (1, WIDTH):
            assert torch.equal(voice_of(speaker, task), torch.zeros(WIDTH))  # type: ignore[arg-type]
            continue
        with pytest.raises(RecipeError, match=f"the network wants {WIDTH} finite numbers"):
            voice_of(speaker, task)


@pytest.mark.parametrize(
    ("text", "message"),
    [("abc дом", "nothing for 'д' 'м' 'о'"), ("a" * 61, "61 tokens"), ("abcdefgh" * 7, "56 tokens in")],
)
def test_a_text_that_cannot_be_learnt_is_refused_with_its_clip(
    text: str, message: str, network: Path, clips: Path, tmp_path: Path
) -> None:
    lines = [json.loads(line) for line in clips.read_text().splitlines()]
    lines = [line | {"path": str(clips.parent / line["path"])} for line in lines]
    lines[0]["transcript"] = text
    (tmp_path / "clips.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(CorpusError, match=message):
        plan(make(settings_of(network, tmp_path / "clips.jsonl")))


def test_a_checkpoint_without_a_tokenizer_is_refused(network: Path, clips: Path, tmp_path: Path) -> None:
    for name in ("config.json", "preprocessor_config.json", "voice.npy"):
        (tmp_path / name).write_bytes((network / name).read_bytes())
    with pytest.raises(PegboxError, match="tokenizer"):
        plan(make(settings_of(tmp_path, clips)))


@pytest.mark.skipif(not find_spec("sentencepiece"), reason="sentencepiece is not installed: pegbox[speech]")
def test_the_checkpoints_own_pieces_are_read(network: Path, clips: Path, tmp_path: Path) -> None:
    import sentencepiece

    for name in ("config.json", "preprocessor_config.json", "voice.npy"):
        (tmp_path / name).write_bytes((network / name).read_bytes())
    lines = iter(["ab cab", "a dab bad", "cab bad dab 'c", "efghijklmnop qrst uvwxyz"] * 5)
    with (tmp_path / "spm_char.model").open("wb") as file:
        told = {"model_type": "char", "vocab_size": 32, "pad_id": 1, "bos_id": 0, "eos_id": 2, "unk_id": 3}
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=lines, model_writer=file, hard_vocab_limit=False, minloglevel=2, **told
        )
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "SpeechT5Tokenizer"}))
    primer = Texts(backbones.outline_speaker(str(tmp_path)))
    found = primer.numbers("a dab!", "here")
    assert found[-1] == 2 and len(found) == 8 and 3 in found.tolist()  # ▁a▁dab, an unknown sign, the end
    with pytest.raises(CorpusError, match="nothing for 'ж'"):
        primer.numbers("ж", "here")
