"""Speech Commands, Fluent Speech Commands and Audio SNIPS: rows from the official layouts, and their traps."""

from collections import Counter
from pathlib import Path

import pytest
from _layouts import checked, made, sizes, sounds, text

from pegbox.corpora.speech_commands import COMMANDS, WORDS, which_split
from pegbox.errors import CorpusError, RecipeError

# --- Speech Commands ----------------------------------------------------------------------------------------------

SPEAKERS = [f"{number:08x}" for number in range(40)]


@pytest.fixture
def commands(tmp_path: Path) -> Path:
    names = [f"{word}/{SPEAKERS[n * 7 % 40]}_nohash_{n}.wav" for n, word in enumerate(WORDS["v0.02"])]
    names += [f"yes/{speaker}_nohash_0.wav" for speaker in SPEAKERS]
    sounds(tmp_path, *names)
    return sounds(tmp_path, "_background_noise_/pink.wav", "_background_noise_/tap.wav", seconds=10)


def test_words_are_split_by_the_hash_of_the_speaker(commands):
    found = checked("speech_commands", root=str(commands))
    assert len(found) == 74 and {row.labels["word"] for row in found.values()} == {*WORDS["v0.02"]}
    assert found["yes/00000003_nohash_0.wav"].labels == {"word": "yes", "speaker": "00000003"}
    assert {row.split for row in found.values()} == {"train", "valid", "test"}
    for row in found.values():
        assert row.split == which_split(f"{row.labels['speaker']}_nohash_7.wav")
    assert made("speech_commands", root="x").disjoint == "speaker"


def test_the_hash_is_the_one_of_the_readme():
    # sha1 modulo 2^27 as a percentage of 2^27 - 1, by sha1sum and bc: 18.1, 4.9, 56.9
    assert [which_split(f"{name}_nohash_1.wav") for name in ("bb05582b", "a69b9b3e", "0a7c2a8d")] == [
        "test",
        "valid",
        "train",
    ]


def test_twelve_classes_have_unknown_words_and_seconds_of_noise(commands):
    found = checked("speech_commands", root=str(commands), classes=12)
    counted = Counter(row.labels["word"] for row in found.values())
    assert {*counted} == {*COMMANDS, "_unknown_", "_silence_"}
    assert counted["_unknown_"] == 25 and counted["_silence_"] == 20
    silent = [row for row in found.values() if row.labels["word"] == "_silence_"]
    assert Counter(row.split for row in silent) == {"train": 16, "valid": 2, "test": 2}
    assert [(row.start, row.end) for row in silent[:2]] == [(0.0, 1.0), (1.0, 2.0)]
    fewer = checked("speech_commands", root=str(commands), classes=12, unknown=0.5)
    assert 0 < sum(row.labels["word"] == "_unknown_" for row in fewer.values()) < 25


def test_the_archive_of_the_test_set_replaces_the_test_part(commands, tmp_path_factory):
    names = [f"{each}/{n}.wav" for each in (*COMMANDS, "_unknown_", "_silence_") for n in range(2)]
    archive = sounds(tmp_path_factory.mktemp("archive"), *names)
    found = checked("speech_commands", root=str(commands), classes=12, test_root=str(archive))
    assert Counter(row.labels["word"] for row in found.values() if row.split == "test") == dict.fromkeys(
        (*COMMANDS, "_unknown_", "_silence_"), 2
    )


def test_lists_can_split_instead_and_must_be_whole(commands):
    text(commands / "validation_list.txt", "yes/00000001_nohash_0.wav")
    text(commands / "testing_list.txt", "yes/00000002_nohash_0.wav")
    options = {"root": str(commands), "split": "lists", "words": ["yes"]}
    assert sizes(checked("speech_commands", **options)) == (38, 1, 1)
    text(commands / "testing_list.txt", "yes/00000001_nohash_0.wav", "yes/0_nohash_0.wav")
    with pytest.raises(CorpusError, match=r"2 faults.*\n.*00000001_nohash_0.wav stands in both lists\n.*is missing"):
        checked("speech_commands", **options)


def test_traps_of_speech_commands(commands, tmp_path):
    with pytest.raises(CorpusError, match=r"the folder 'backward' is no word of v0\.01"):
        checked("speech_commands", root=str(commands), version="v0.01", classes=30)
    with pytest.raises(RecipeError, match=r"v0\.02 has 35 words, or classes=12"):
        made("speech_commands", root=str(commands), classes=30)
    with pytest.raises(RecipeError, match=r"has no words \['Yes'\]"):
        made("speech_commands", root=str(commands), words=["Yes"])
    with pytest.raises(RecipeError, match=r"unknown=1\.5\): a share from 0 to 1"):
        made("speech_commands", root=str(commands), unknown=1.5)
    with pytest.raises(RecipeError, match="test_root with classes=12"):
        made("speech_commands", root=str(commands), test_root="x")
    sounds(commands, "yes/hello.wav")
    with pytest.raises(CorpusError, match=r"hello\.wav: not named \{speaker\}_nohash_"):
        checked("speech_commands", root=str(commands))
    (commands / "yes").rename(commands / "Yes")
    with pytest.raises(CorpusError, match=r"no yes here; unpack http://download\.tensorflow"):
        checked("speech_commands", root=str(commands))
    with pytest.raises(CorpusError, match="no such folder; unpack"):
        checked("speech_commands", root=str(tmp_path / "none"))


# --- Fluent Speech Commands ---------------------------------------------------------------------------------------

HEAD = ",path,speakerId,transcription,action,object,location"


def fluent(root: Path, *extra: str) -> str:
    for number, part in enumerate(("train", "valid", "test")):
        path = f"wavs/speakers/s{number}/a{number}.wav"
        line = f'0,{path},s{number},"Lights, please",activate,lights,kitchen'
        text(root / "data" / f"{part}_data.csv", HEAD, line, *(extra if part == "test" else ()))
        sounds(root, path)
    return str(root)


@pytest.mark.parametrize("inside", ["", "fluent_speech_commands_dataset"])
def test_fluent_speech_commands(inside, tmp_path):
    fluent(tmp_path / inside)
    found = checked("fluent_speech_commands", root=str(tmp_path))
    assert sizes(found) == (1, 1, 1)
    assert found["s2/a2"].labels == {
        "action": "activate",
        "object": "lights",
        "location": "kitchen",
        "intent": "activate|lights|kitchen",
        "transcript": "Lights, please",
        "speaker": "s2",
    }


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1,wavs/speakers/s2/b.wav,s2,x,a,o,none", r"s2/b\.wav: no such audio file"),
        ("1,wavs/speakers/s0/a0.wav,s0,x,a,o,none", r"id 's0/a0' stands 2 times\n.*speaker 's0' stands in"),
        ("1,wavs/speakers/s2/b.wav,s2,x,a", r"row 3 has not 7 cells"),
    ],
)
def test_traps_of_fluent_speech_commands(line, message, tmp_path):
    with pytest.raises(CorpusError, match=message):
        checked("fluent_speech_commands", root=fluent(tmp_path, line))


def test_a_table_of_another_kind_is_refused(tmp_path):
    fluent(tmp_path)
    text(tmp_path / "data" / "test_data.csv", "path,text", "a,b")
    with pytest.raises(CorpusError, match=r"test_data\.csv: no column speakerId, transcription.*it has path, text"):
        checked("fluent_speech_commands", root=str(tmp_path))
    with pytest.raises(CorpusError, match=r"no data/train_data\.csv.*ask for Fluent Speech Commands"):
        checked("fluent_speech_commands", root=str(tmp_path / "data"))


# --- Audio SNIPS --------------------------------------------------------------------------------------------------

SAID = "BOS play westbam now EOS\tO O artist O PlayMusic"


def snips(root: Path, *extra: str) -> str:
    names = ["Ivy-snips-train-0", "Amy-snips-valid-0", "Emma-snips-test-0"]
    for name in names:
        sounds(root, f"{name.split('-')[2]}/{name}.wav")
    text(root / "all.iob.snips.txt", *(f"{name} {SAID}" for name in names), f"Amy-snips-train-0 {SAID}", *extra)
    return str(root)


def test_audio_snips_has_a_slot_a_word_and_the_official_voices(tmp_path):
    found = checked("audio_snips", root=snips(tmp_path))
    assert sizes(found) == (1, 1, 1)
    assert found["Amy-snips-valid-0"].labels == {
        "transcript": "play westbam now",
        "slots": "O artist O",
        "intent": "PlayMusic",
        "speaker": "Amy",
    }


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (f"Amy-snips-valid-1 {SAID}", r"line 5: Amy-snips-valid-1: no sound in valid/"),
        ("Amy-snips-valid-0 BOS play EOS\tO O O PlayMusic", "its words and slots do not fit"),
        (f"Amy-snips-valid-0 {SAID}", "id 'Amy-snips-valid-0' stands 2 times"),
    ],
)
def test_traps_of_audio_snips(line, message, tmp_path):
    with pytest.raises(CorpusError, match=message):
        checked("audio_snips", root=snips(tmp_path, line))
