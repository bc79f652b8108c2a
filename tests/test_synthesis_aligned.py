"""Clips without times: the network's own speech tells them, once, and near the truth where that is known."""

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from _layouts import text
from _speaker import save_speaker, save_units
from test_corpora_read import l2arctic, libritts, vctk

import pegbox
from pegbox import backbones, corpora
from pegbox.corpora.synthetic import _espeak
from pegbox.corpora.synthetic._espeak import Synthesizer, Voice
from pegbox.errors import CorpusError
from pegbox.recipe import make
from pegbox.rows import Row
from pegbox.tasks import build
from pegbox.training.aligned import aligned, borders
from pegbox.training.plans import plan

pytestmark = pytest.mark.skipif(not find_spec("pyworld"), reason="pyworld is not installed: pegbox[speech]")
needs_speech = pytest.mark.skipif(not _espeak.available(), reason="eSpeak NG is not installed: pegbox[speech]")
ALIGN = build("synthesize(align=True)")


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_speaker(tmp_path_factory.mktemp("network"))


def bare_units(folder: Path) -> Path:
    """Returns a manifest of clips whose units are known, without their times."""
    manifest = save_units(folder)
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    for line in lines[1:]:
        del line["times"]
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return manifest


def settings_of(network: Path, manifest: Path, **changes: Any) -> dict[str, Any]:
    made = {"backbone": str(network), "method": "lora(rank=2)", "task": "synthesize(align=True)", "train": {"steps": 2}}
    made |= {"corpus": f'manifest(path="{manifest}")', "cache": {"folder": str(manifest.parent / "cache")}}
    return made | changes


def test_borders_follow_frames_that_last_longer() -> None:
    draw = torch.Generator().manual_seed(0)
    frames = 3 * torch.randn(40, 80, generator=draw).repeat_interleave(3, 0)
    lasting = torch.randint(1, 4, (120,), generator=draw)
    starts = np.array([0, 30, 30, 60, 90, 120])  # the second unit has no frame, and the last one begins at the end
    found = borders(frames, starts, frames.repeat_interleave(lasting, 0))
    true = np.append(0, lasting.cumsum(0).numpy())[starts]
    assert np.abs(found - true).max() <= 1 and (found[0], found[-1]) == (0, lasting.sum()) and found[1] == found[2]


def test_what_a_corpus_knows_stays_and_the_rest_is_found_once(network: Path, tmp_path: Path) -> None:
    manifest, speaker = bare_units(tmp_path), backbones.load_speaker(str(network))
    rows = corpora.build(f'manifest(path="{manifest}")').rows()
    first = aligned(rows, speaker, ALIGN, str(tmp_path / "cache"))
    timed = next(row for row in rows if "times" in row.labels)
    assert {row.id: row for row in first}[timed.id] == timed
    (kept,) = (tmp_path / "cache" / "times").glob("*.jsonl")
    whole = kept.read_bytes()
    assert len(whole.splitlines()) == len(rows) - 1
    for row in first:
        spans = json.loads(row.labels["times"])
        assert [unit for unit, _, _ in spans] == row.labels["phonemes"].split()
    kept.write_bytes(whole[:-20])  # a kill tore the last line
    assert aligned(rows, speaker, ALIGN, str(tmp_path / "cache")) == first and kept.read_bytes() == whole
    stamp = kept.stat().st_mtime_ns
    assert aligned(rows, speaker, ALIGN, str(tmp_path / "cache")) == first and kept.stat().st_mtime_ns == stamp
    kept.unlink()
    assert aligned(rows, speaker, ALIGN, str(tmp_path / "cache")) == first, "the same again, without what was kept"
    assert aligned(rows, speaker, build("synthesize"), str(tmp_path / "cache")) == rows


@pytest.mark.parametrize("method", ["lora(rank=2)", "full"])
def test_a_run_on_aligned_clips_is_judged_the_same_again(method: str, network: Path, tmp_path: Path) -> None:
    settings = settings_of(network, bare_units(tmp_path), method=method)
    assert plan(make(settings)).clips == {"train": 8, "valid": 2, "test": 2}
    assert not (tmp_path / "cache").exists(), "a plan reads no sound"
    result = pegbox.train(settings, tmp_path / "run")
    (kept,) = (tmp_path / "cache" / "times").glob("*.jsonl")
    kept.unlink()  # the network without its method finds them again
    assert pegbox.load(tmp_path / "run").evaluate() == result["scores"]["test"]


@needs_speech
def test_borders_lie_near_the_true_ones(tmp_path: Path) -> None:
    """Two sentences of a voice that the network has never heard: far nearer than times stretched evenly."""
    speech, rows, true = Synthesizer(), [], {}
    for number, said in enumerate(("the young doctor forgets three letters by the river", "a small boat, her old cat")):
        spoken = speech.say(said, Voice("en-us", "Andrea"))
        true[str(number)] = [start for _, start, _ in spoken.phonemes]
        wave = np.pad(spoken.wave, (4_800, 3_200))  # silence, as recordings have it around what is said
        soundfile.write(tmp_path / f"{number}.wav", wave, 16_000)
        rows.append(Row(str(number), str(tmp_path / f"{number}.wav"), {"transcript": said}, "train"))
    found = aligned(rows, backbones.load_speaker("tiny_voice"), ALIGN, str(tmp_path / "cache"))
    for row in found:
        starts = np.array([start for _, start, _ in json.loads(row.labels["times"])])
        wrong = np.abs(starts - 0.3 - np.array(true[row.id]))
        assert wrong.mean() < 0.015 and wrong.max() < 0.1


@needs_speech
def test_a_layout_with_texts_alone_is_learnt(tmp_path: Path) -> None:
    speech, lines = Synthesizer(), []
    for number in range(6):
        name, said = f"LJ{number:03d}-0001", f"Mr. Bell has {number} apples."
        (tmp_path / "wavs").mkdir(exist_ok=True)
        soundfile.write(tmp_path / "wavs" / f"{name}.wav", speech.say(said, Voice("en-us", "Andrea")).wave, 16_000)
        lines.append(f"{name}|{said}|{said}")
    text(tmp_path / "metadata.csv", *lines)
    settings = settings_of(Path("tiny_voice"), tmp_path / "x", backbone="tiny_voice")
    settings |= {"corpus": f'ljspeech(root="{tmp_path}", valid=0.2, test=0.2)'}
    with pytest.raises(CorpusError, match=r"no label 'times'; with synthesize\(align=True\)"):
        pegbox.train(settings | {"task": "synthesize"}, tmp_path / "refused")
    result = pegbox.train(settings, tmp_path / "run")
    assert result["scores"]["test"]["duration_error"] < 100 and result["outputs"] == 0
    text(tmp_path / "metadata.csv", *[line.replace("Bell", "Белл") for line in lines])
    with pytest.raises(CorpusError, match=r"LJ00\d-0001: the text has 3 letters of another script than Latin"):
        pegbox.train(settings, tmp_path / "refused")


@pytest.mark.parametrize(("name", "layout"), [("libritts", libritts), ("l2arctic", l2arctic), ("vctk", vctk)])
def test_the_layouts_with_texts_alone_can_be_planned_with_times_to_come(
    name: str, layout: Callable[..., str], network: Path, tmp_path: Path
) -> None:
    root = layout(tmp_path, *({"p225": 12},) * (name == "vctk"))
    if name == "vctk":
        text(tmp_path / "txt" / "p225" / "p225_000.txt", "Please call Stella.")
    settings = settings_of(network, tmp_path / "x") | {"corpus": f'{name}(root="{root}")'}
    assert sum(plan(make(settings)).clips.values()) in (3, 12, 50)
    with pytest.raises(CorpusError, match=r"no label 'times'; with synthesize\(align=True\)"):
        plan(make(settings | {"task": "synthesize"}))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"transcript": " "}, "1 of 9 rows of 'train' have neither 'phonemes' nor a text in 'transcript'"),
        ({}, "1 of 9 rows of 'train' have neither 'phonemes' nor a text in 'transcript'"),
        ({"phonemes": "a c"}, "no symbol for 'c'; it knows _ a b"),
    ],
)
def test_clips_that_cannot_be_aligned_are_refused(
    labels: dict[str, str], message: str, network: Path, tmp_path: Path
) -> None:
    manifest = bare_units(tmp_path)
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    others = [line | {"transcript": "a"} for line in lines]
    odd = {"path": "1.wav", "start": 0.0, "end": 0.2, "split": "train", **labels}
    manifest.write_text("".join(json.dumps(line) + "\n" for line in [*others, odd]))
    with pytest.raises(CorpusError, match=message):
        pegbox.train(settings_of(network, manifest), tmp_path / "run")
