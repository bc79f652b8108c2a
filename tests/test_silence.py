"""Silence is cut where SoX cuts it, once, for training, validation, tests and predictions alike."""

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from _made import RATE
from _same import classifying

import pegbox
from pegbox import audio, backbones, tasks
from pegbox.errors import CorpusError, RecipeError
from pegbox.recipe import make
from pegbox.rows import Row, seconds, wave
from pegbox.silence import cut, spans
from pegbox.training.plans import plan
from pegbox.training.prepare import corpus_rows, data_of


def patched(seed: int) -> audio.Wave:
    """Stretches of noise from below to far above a thousandth of full scale, as 16-bit files hold them."""
    draw = np.random.default_rng(seed)
    parts = [
        10 ** draw.uniform(-0.5, 3.2) * draw.standard_normal(draw.integers(200, 6000))
        for _ in range(draw.integers(3, 12))
    ]
    return (np.clip(np.concatenate(parts), -32767, 32767).astype(np.int16) / 32768).astype(np.float32)


@pytest.fixture
def halting(tones: Path, tmp_path: Path) -> Path:
    """The tones with 0.3 s of silence before, in the middle and behind."""
    pause = np.zeros(int(0.3 * RATE), np.float32)
    for path in tones.rglob("*.flac"):
        place = tmp_path / "halting" / path.parent.name / path.name
        place.parent.mkdir(parents=True, exist_ok=True)
        sound = audio.read(path, RATE)
        soundfile.write(place, np.concatenate([pause, sound, pause, sound, pause]), RATE)
    return tmp_path / "halting"


@pytest.mark.parametrize(
    ("seed", "length", "ends"),
    [
        (3, 6073, (-97, 2)),
        (4, 14396, (132, -389)),
        (5, 16759, (-269, -4)),
        (6, 6693, (-67, -1)),
        (7, 32358, (-463, 0)),
        (8, 18777, (-1370, -18)),
    ],
)
def test_what_is_left_is_what_sox_leaves(seed: int, length: int, ends: tuple[int, int]) -> None:
    """The length, first and last sample that SoX 14.4.2 gives with `gain -3 silence 1 0.1 0.1% -1 0.1 0.1%`."""
    sound = patched(seed) * np.float32(10 ** (-3 / 20))
    kept = np.concatenate([sound[first:last] for first, last in spans(sound, RATE, 0.1)])
    assert len(kept) == length
    assert [kept[0] * 32768, kept[-1] * 32768] == pytest.approx(ends, abs=1)


@pytest.mark.skipif(not shutil.which("sox"), reason="SoX is not installed")
def test_sox_itself_agrees(tmp_path: Path) -> None:
    chain = ["gain", "-3", "silence", "1", "0.1", "0.1%", "-1", "0.1", "0.1%"]
    for seed in range(100, 130):
        sound = patched(seed)
        soundfile.write(tmp_path / "whole.wav", sound, RATE, "PCM_16")
        subprocess.run(["sox", "-D", "whole.wav", "cut.wav", *chain], cwd=tmp_path, check=True)
        quiet = sound * np.float32(10 ** (-3 / 20))
        parts = [quiet[first:last] for first, last in spans(quiet, RATE, 0.1)]
        wanted, _ = soundfile.read(tmp_path / "cut.wav", dtype="float32")
        np.testing.assert_allclose(np.concatenate([quiet[:0], *parts]), wanted, atol=1.01 / 32768)


def test_sound_stays_and_silence_goes() -> None:
    loud = np.full(RATE, 0.1, np.float32)
    assert spans(loud, RATE, 0.1) == [(0, RATE)]
    assert not spans(np.zeros(RATE, np.float32), RATE, 0.1)
    assert not spans(loud[: RATE // 10 - 1], RATE, 0.1) and not spans(loud[:0], RATE, 0.1)
    short = np.concatenate([loud, np.zeros(RATE // 20, np.float32), loud])
    assert spans(short, RATE, 0.1) == [(0, len(short))]
    ((begin, middle), (again, end)) = spans(np.concatenate([loud, np.zeros(RATE, np.float32), loud]), RATE, 0.1)
    assert begin == 0 and end == 3 * RATE
    assert RATE <= middle <= RATE + RATE // 50 and abs(again - 2 * RATE) <= RATE // 50


def test_a_part_of_a_file_is_cut_by_itself_and_a_changed_file_anew(tmp_path: Path) -> None:
    sound = np.concatenate([np.full(RATE, 0.125), np.zeros(RATE), np.full(RATE, 0.25)])
    soundfile.write(tmp_path / "a.wav", np.stack([sound, sound], 1), RATE)
    plain = Row("a", str(tmp_path / "a.wav"))
    whole, part = cut([plain, replace(plain, id="b", end=0.5)], 0.1, tmp_path / "c")
    assert seconds(part) == pytest.approx(0.5) and seconds(whole) == pytest.approx(2, abs=0.03)
    np.testing.assert_array_equal(wave(part, RATE), np.full(RATE // 2, 0.125, np.float32))
    assert soundfile.info(part.audio).subtype == "PCM_16"
    (again,) = cut([plain], 0.1, tmp_path / "c")
    assert again == whole and len(list((tmp_path / "c").glob("*.wav"))) == 2
    soundfile.write(tmp_path / "a.wav", sound[:RATE], RATE)
    (other,) = cut([plain], 0.1, tmp_path / "c")
    assert seconds(other) == 1


def test_one_file_many_times_is_cut_once(tmp_path: Path) -> None:
    sound = np.tile(np.concatenate([np.full(RATE, 0.125), np.zeros(RATE)]), 10)
    soundfile.write(tmp_path / "a.wav", sound, RATE)
    (tmp_path / "b.wav").symlink_to(tmp_path / "a.wav")
    found = cut([Row(str(n), str(tmp_path / f"{'ab'[n % 2]}.wav")) for n in range(16)], 0.1, tmp_path / "c")
    assert len({row.audio for row in found}) == 1 and len({row.id for row in found}) == 16
    assert {path.name for path in (tmp_path / "c").iterdir()} - {".lock"} == {Path(found[0].audio).name}


@pytest.mark.parametrize("rate", [40, 700_000])
def test_sound_beyond_full_scale_and_strange_rates_stay_as_they_are(rate: int, tmp_path: Path) -> None:
    sound = np.concatenate([np.full(rate, 1.5), np.zeros(rate)])
    soundfile.write(tmp_path / "a.wav", sound, rate, "FLOAT")
    (found,) = cut([Row("a", str(tmp_path / "a.wav"), gain=-6.0)], 0.1, tmp_path / "c")
    heard = wave(found, rate)
    np.testing.assert_allclose(heard[:rate], np.full(rate, 1.5 * 10 ** (-6 / 20)), rtol=1e-6)
    assert rate <= len(heard) <= rate + max(1, rate // 50)


def test_a_run_hears_no_silence(hubert: Path, halting: Path, tmp_path: Path) -> None:
    """Training, validation, tests and predictions are those on clips that were cut beforehand."""
    by_hand = tmp_path / "by_hand"
    for path in halting.rglob("*.flac"):
        place = by_hand / path.parent.name / path.name
        place.parent.mkdir(parents=True, exist_ok=True)
        sound = audio.read(path, RATE)
        parts = [sound[first:last] for first, last in spans(sound, RATE, 0.1)]
        soundfile.write(place, np.concatenate(parts), RATE, "PCM_24")
    told = pegbox.train(classifying(hubert, halting, {}, silence=0.1), tmp_path / "told")
    made = pegbox.train(classifying(hubert, by_hand, {}), tmp_path / "made")
    pegbox.train(classifying(hubert, halting, {}), tmp_path / "plain")
    assert told["scores"] == made["scores"]
    clips = sorted(path.relative_to(halting) for path in halting.rglob("*.flac"))
    said = [
        [each["probabilities"] for each in pegbox.load(tmp_path / run).predict([root / clip for clip in clips])]
        for run, root in (("told", halting), ("made", by_hand), ("told", by_hand), ("plain", halting))
    ]
    assert said[0] == said[1] and said[0] != said[3]
    assert pegbox.load(tmp_path / "told").evaluate() == pytest.approx(told["scores"]["test"])


def test_a_plan_decodes_nothing_and_a_test_needs_no_other_part(hubert: Path, halting: Path, tmp_path: Path) -> None:
    recipe = classifying(hubert, halting, {}, silence=0.1)
    plan(recipe)
    assert not (tmp_path / "cache" / "cut").exists()
    pegbox.train(recipe, tmp_path / "run")
    made = len(list((tmp_path / "cache" / "cut").glob("*.wav")))
    assert made == 36
    silent = next(row for row in corpus_rows(recipe, None) if row.split == "train").audio
    soundfile.write(silent, np.zeros(RATE), RATE)
    run = pegbox.load(tmp_path / "run")
    assert run.evaluate("test")
    with pytest.raises(CorpusError, match="1 clips have no"):
        run.predict([silent])
    assert len(list((tmp_path / "cache" / "cut").glob("*.wav"))) == made


def test_short_training_clips_may_be_left_out(hubert: Path, tones: Path) -> None:
    recipe = classifying(hubert, tones, {"longer_than": 0.3})
    rows, backbone = corpus_rows(recipe, None), backbones.load(str(hubert))
    found = data_of(rows, tasks.build(recipe.task), backbone, 0.3).rows
    wanted = [row for row in rows if row.split == "train" and seconds(row) > 0.3]
    assert 0 < len(wanted) < sum(row.split == "train" for row in rows) and found["train"] == wanted
    assert len(found["valid"]) + len(found["test"]) == sum(row.split != "train" for row in rows)
    assert plan(recipe).clips["train"] == len(wanted)
    task = tasks.build('classify(label="class", projection=8, segment=0.1)')
    parts = data_of(rows, task, backbone, 0.3).rows["train"]
    assert {row.id.partition("#")[0] for row in parts} == {row.id for row in wanted}  # clips are left out, not parts
    with pytest.raises(CorpusError, match=r"longer_than=5: none of the \d+ training clips is"):
        plan(classifying(hubert, tones, {"longer_than": 5.0}))


def test_what_cannot_be_cut_is_refused(hubert: Path, tones: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "none.wav", np.zeros(RATE), RATE)
    with pytest.raises(CorpusError, match=r"2 clips have no 0.1 s louder than silence=0.1 % \(a, b\)"):
        cut([Row("a", str(tmp_path / "none.wav")), Row("b", str(tmp_path / "none.wav"), end=0.5)], 0.1, tmp_path / "c")
    (tmp_path / "file").write_text("")
    with pytest.raises(CorpusError, match="cannot write here"):
        cut([], 0.1, tmp_path / "file" / "c")
    with pytest.raises(CorpusError, match=r"gone.wav: cannot be read \(No such file or directory\)"):
        cut([Row("a", str(tmp_path / "gone.wav"))], 0.1, tmp_path / "c")
    with pytest.raises(RecipeError, match=r"silence=100.0: percent of full scale"):
        classifying(hubert, tones, {}, silence=100)
    timed = make({**classifying(hubert, tones, {}, silence=0.1).__dict__, "task": "diarize"})
    with pytest.raises(RecipeError, match="labels with times"):
        corpus_rows(timed, None)


def test_a_recipe_without_it_keeps_its_identity(hubert: Path, tones: Path) -> None:
    assert classifying(hubert, tones, {}).digest == classifying(hubert, tones, {}, silence=0.0).digest
    assert classifying(hubert, tones, {}).digest != classifying(hubert, tones, {}, silence=0.1).digest
