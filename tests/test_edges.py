"""What clips may be: very short and very long, of any format and rate in one corpus, texts and names of any script."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

import pegbox
from pegbox.errors import CorpusError

RATE = 16_000


def tone(pitch: float, seconds: float, rate: int = RATE) -> np.ndarray:
    return 0.3 * np.sin(2 * np.pi * pitch * np.arange(int(seconds * rate)) / rate)


def written(folder: Path, pitch: float, seconds: float = 0.4) -> list[Path]:
    """Writes one sound as stereo of 48 kHz and 24 bits, as telephone speech of 8 kHz, and as mono of 16 kHz."""
    folder.mkdir(parents=True, exist_ok=True)
    wide, narrow = tone(pitch, seconds, 48_000), tone(pitch, seconds, 8_000)
    soundfile.write(folder / "wide.flac", np.stack([wide, wide], 1), 48_000, subtype="PCM_24")
    soundfile.write(folder / "wide.wav", np.stack([wide, wide], 1), 48_000, subtype="PCM_24")
    soundfile.write(folder / "narrow.wav", narrow, 8_000, subtype="PCM_16")
    soundfile.write(folder / "plain.wav", tone(pitch, seconds), RATE)
    return sorted(folder.iterdir())


def recipe(backbone: Path, task: str, table: Path, **train: object) -> dict[str, object]:
    corpus = f'manifest(path="{table}")'
    settings = {"epochs": 2, "batch_clips": 4} | train
    return {"backbone": str(backbone), "method": "lora(rank=2)", "task": task, "corpus": corpus, "train": settings}


def listed(table: Path, lines: list[dict[str, str]]) -> Path:
    table.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
    return table


def tones(folder: Path, **more: float) -> Path:
    """Writes low and high tones in four formats, and further clips of so many seconds to train on; returns a table."""
    lines = []
    for split in ("train", "valid", "test"):
        for name, pitch in (("low", 300), ("high", 2_000)):
            for path in written(folder / split / name, pitch):
                lines.append({"path": str(path.relative_to(folder)), "word": name, "split": split})
    for name, length in more.items():
        soundfile.write(folder / f"{name}.wav", tone(300, length), RATE)
        lines.append({"path": f"{name}.wav", "word": "low", "split": "train"})
    return listed(folder / "clips.jsonl", lines)


def test_formats_rates_and_lengths_mix_in_one_corpus(hubert: Path, tmp_path: Path) -> None:
    table = tones(tmp_path, short=0.05, shorter=0.03)
    result = pegbox.train(recipe(hubert, 'classify(label="word")', table), tmp_path / "run")
    assert 0 <= result["scores"]["test"]["accuracy"] <= 1
    run = pegbox.load(tmp_path / "run")
    files = sorted((tmp_path / "test" / "high").iterdir())
    chances = [row["probabilities"]["high"] for row in run.predict(files)]
    assert len(files) == 4 and chances == pytest.approx([chances[0]] * 4, abs=2e-3)
    (alone,) = run.predict([tmp_path / "short.wav"])
    both = run.predict([tmp_path / "short.wav", files[0]])
    assert alone["probabilities"] == pytest.approx(both[0]["probabilities"], abs=1e-5)


def test_a_clip_below_the_shortest_is_refused_by_name_before_training(hubert: Path, tmp_path: Path) -> None:
    table = tones(tmp_path, tiny=0.02)
    with pytest.raises(CorpusError, match=r"1 of 25 clips cannot be used:\n  tiny\S*: .*at least 400"):
        pegbox.train(recipe(hubert, 'classify(label="word")', table), tmp_path / "run")


def test_ten_minutes_are_heard_in_parts(hubert: Path, tmp_path: Path) -> None:
    table = tones(tmp_path)
    task = 'classify(label="word", segment=10.0)'
    pegbox.train(recipe(hubert, task, table, epochs=1), tmp_path / "run")
    soundfile.write(tmp_path / "long.flac", tone(300, 600), RATE)
    run = pegbox.load(tmp_path / "run")
    (row,) = run.predict([tmp_path / "long.flac"])
    assert row["id"] == str(tmp_path / "long.flac") and sum(row["probabilities"].values()) == pytest.approx(1)
    (part,) = pegbox.load(tmp_path / "run").predict([tmp_path / "test" / "low" / "plain.wav"])
    assert row["probabilities"]["low"] == pytest.approx(part["probabilities"]["low"], abs=0.2)


def test_texts_and_names_of_any_script_go_through_a_run(hubert: Path, tmp_path: Path) -> None:
    texts = {"日本 語": 300, "grüße dich": 700, "cafe\u0301 ñ": 1_200, "שלום": 2_000}
    lines = []
    for split in ("train", "valid", "test"):
        for text, pitch in texts.items():
            name = f"{split} {text}.wav"
            soundfile.write(tmp_path / name, tone(pitch, 0.6), RATE)
            lines.append({"path": name, "transcript": text, "split": split})
    table = listed(tmp_path / "clips.jsonl", lines)
    result = pegbox.train(recipe(hubert, 'ctc(select="cer")', table), tmp_path / "run")
    assert result["scores"]["test"]["cer"] > 0
    said = [json.loads(line) for line in (tmp_path / "run" / "predictions.jsonl").read_text("utf-8").splitlines()]
    assert {row["true"] for row in said} == {*texts}  # an accent of its own stays one
    assert {row["id"].partition(" ")[2].removesuffix(".wav") for row in said} >= {"日本 語", "שלום"}
    (row,) = pegbox.load(tmp_path / "run").predict([tmp_path / "test שלום.wav"])
    assert isinstance(row["said"], str)


def test_an_empty_text_is_refused_in_any_split_and_counted(hubert: Path, tmp_path: Path) -> None:
    for split in ("train", "valid", "test"):
        lines = []
        for number, part in enumerate(("train", "valid", "test") * 2):
            soundfile.write(tmp_path / f"{number}.wav", tone(300, 0.4), RATE)
            empty = part == split and number > 2
            lines.append({"path": f"{number}.wav", "transcript": " " if empty else "ab", "split": part})
        table = listed(tmp_path / "clips.jsonl", lines)
        with pytest.raises(CorpusError, match=rf"1 of 2 rows of '{split}' have an empty label 'transcript'"):
            pegbox.train(recipe(hubert, "ctc", table), tmp_path / "run")


def test_nobody_speaking_is_a_label_of_diarization(hubert: Path, tmp_path: Path) -> None:
    lines = []
    for number, part in enumerate(("train", "valid", "test") * 2):
        soundfile.write(tmp_path / f"{number}.wav", tone(300, 0.4), RATE)
        turns = "[]" if number > 2 else '[["a", 0.1, 0.3]]'
        lines.append({"path": f"{number}.wav", "turns": turns, "split": part})
    table = listed(tmp_path / "clips.jsonl", lines)
    result = pegbox.train(recipe(hubert, "diarize(hidden=4)", table), tmp_path / "run")
    assert result["scores"]["test"]["der"] >= 0
    truth = (tmp_path / "run" / "test.true.rttm").read_text("utf-8")
    assert truth == "SPEAKER 2.wav 1 0.100 0.200 <NA> <NA> a <NA> <NA>\n"
    said = [json.loads(line) for line in (tmp_path / "run" / "predictions.jsonl").read_text("utf-8").splitlines()]
    wanted = sum(len(json.loads(row["said"])) for row in said if row["split"] == "valid")
    assert len((tmp_path / "run" / "valid.rttm").read_text("utf-8").splitlines()) == wanted
