"""LibriMix, RTTM files, Common Voice and QUESST 2014: rows from the official layouts, and their traps."""

import json
from pathlib import Path

import pytest
from _layouts import checked, sizes, sounds, text

from pegbox.errors import CorpusError

# --- LibriMix -----------------------------------------------------------------------------------------------------


def kaldi(root: Path, segments: bool = False) -> str:
    for number, part in enumerate(("train", "dev", "test")):
        place, left, right = root / part, f"1{number}", f"2{number}"
        sounds(root, f"wav/m{number}.wav", seconds=1)
        text(place / "wav.scp", f"m{number} wav/m{number}.wav")
        turns = [(left, 0.0, 0.25), (right, 0.1, 0.9), (left, 0.5, 0.7)]
        if segments:
            text(place / "utt2spk", *(f"m{number}_{n} {who}" for n, (who, _, _) in enumerate(turns)))
            text(place / "segments", *(f"m{number}_{n} m{number} {a:.2f} {b}" for n, (_, a, b) in enumerate(turns)))
        else:
            lines = [f"SPEAKER m{number} 1 {a:.2f} {b - a:.2f} <NA> <NA> {who} <NA> <NA>" for who, a, b in turns]
            text(place / "rttm", "SPKR-INFO m0 1 <NA> <NA> <NA> unknown 10 <NA> <NA>", *reversed(lines))
    return str(root)


@pytest.mark.parametrize("segments", [False, True])
def test_librimix_has_turns_from_rttm_or_segments(segments, tmp_path):
    found = checked("librimix", root=kaldi(tmp_path, segments))
    assert sizes(found) == (1, 1, 1)
    assert found["m1"].split == "valid" and found["m1"].labels["speakers"] == "11,21"
    turns = sorted(json.loads(found["m1"].labels["turns"]), key=lambda turn: turn[1])
    assert turns == [["11", 0.0, 0.25], ["21", 0.1, 0.9], ["11", 0.5, 0.7]]


def test_traps_of_librimix(tmp_path):
    root = kaldi(tmp_path)
    text(tmp_path / "dev/wav.scp", "m1 sox wav/m1.wav -t wav - |", "m7 wav/m0.wav", "m7 wav/m0.wav")
    text(tmp_path / "test/rttm", "SPEAKER m2 1 0 1 <NA> <NA> 10 <NA> <NA>", "SPEAKER m3 1 0 1 <NA> <NA> 1 <NA>")
    with pytest.raises(CorpusError) as caught:
        checked("librimix", root=root)
    words = str(caught.value)
    assert "5 faults" in words and "m1 is a command or nothing" in words and "m7 stands twice" in words
    assert "dev: m7 has no turns" in words and "test: m3 has turns and no sound in wav.scp" in words
    assert "speaker '10' stands in train and test (m2)" in words
    text(tmp_path / "test/rttm", "SPEAKER m2 1 0 -1 <NA> <NA> 10 <NA> <NA>")
    with pytest.raises(CorpusError, match=r"rttm: line 1: '-1' is no time in seconds"):
        checked("librimix", root=root)
    text(tmp_path / "test/rttm", "SPEAKER m2 1 0")
    with pytest.raises(CorpusError, match=r"rttm: line 1: 4 cells; SPEAKER file 1 start"):
        checked("librimix", root=root)


def test_an_utterance_of_two_voices_is_refused(tmp_path):
    root = kaldi(tmp_path, segments=True)
    text(tmp_path / "train/segments", "m0_0 m0 0 1", "m0_0 m0 0.5 1", "m0_9 m0 0 1")
    with pytest.raises(CorpusError, match="2 faults"):
        checked("librimix", root=root)
    with pytest.raises(CorpusError, match=r"no train/wav\.scp.*make Libri2Mix"):
        checked("librimix", root=str(tmp_path / "wav"))


# --- RTTM ---------------------------------------------------------------------------------------------------------


def meeting(place: Path, *names: str) -> Path:
    for name in names:
        sounds(place, f"audio/{name}.wav", seconds=2)
        text(place / "rttm" / f"{name}.rttm", f"SPEAKER {name} 1 0.5 1.0 <NA> <NA> ann <NA> <NA>")
    return place


def test_recordings_are_clips_or_regions_of_a_uem(tmp_path):
    for part in ("train", "dev", "test"):
        meeting(tmp_path / part, f"{part}1")
    text(tmp_path / "test" / "all.uem", ";; comment", "test1 1 0.0 1.0", "test1 1 1.75 2.0")
    found = checked("rttm", root=str(tmp_path))
    assert sizes(found) == (1, 1, 2)
    assert json.loads(found["dev1"].labels["turns"]) == [["ann", 0.5, 1.5]]
    first, last = found["test1:0-1"], found["test1:1.75-2"]
    assert (first.start, first.end, json.loads(first.labels["turns"])) == (0.0, 1.0, [["ann", 0.5, 1.0]])
    assert last.labels == {"turns": "[]", "speakers": ""}


def test_without_folders_of_splits_they_are_drawn(tmp_path):
    meeting(tmp_path, *(f"m{n}" for n in range(10)))
    assert sizes(checked("rttm", root=str(tmp_path), valid=0.2, test=0.2)) == (6, 2, 2)
    away = tmp_path / "away"
    away.mkdir()
    (tmp_path / "audio").rename(away / "audio")
    with pytest.raises(CorpusError, match="10 faults"):
        checked("rttm", root=str(tmp_path / "rttm"))
    assert len(checked("rttm", root=str(tmp_path / "rttm"), audio=str(away))) == 10


def test_traps_of_rttm(tmp_path):
    meeting(tmp_path, "a", "b")
    text(tmp_path / "more.rttm", "SPEAKER a 1 0 1 <NA> <NA> bob <NA> <NA>", "SPEAKER c 1 0 1 <NA> <NA> bob <NA> <NA>")
    text(tmp_path / "all.uem", "d 1 0 1")
    with pytest.raises(CorpusError, match=r"3 faults(.|\n)*a has turns in another file(.|\n)*c has turns(.|\n)*d has"):
        checked("rttm", root=str(tmp_path))
    text(tmp_path / "all.uem", "a 1 0")
    with pytest.raises(CorpusError, match=r"all\.uem: line 1: 3 cells; file 1 start end"):
        checked("rttm", root=str(tmp_path))
    sounds(tmp_path, "other/a.wav")
    with pytest.raises(CorpusError, match="bear one name"):
        checked("rttm", root=str(tmp_path))
    with pytest.raises(CorpusError, match=r"no \*\.rttm with SPEAKER lines here"):
        checked("rttm", root=str(tmp_path / "audio"))


# --- Common Voice -------------------------------------------------------------------------------------------------

HEAD = "client_id\tpath\tsentence\tup_votes\tage\taccents\tlocale"


def voices(root: Path, *extra: str) -> str:
    for number, part in enumerate(("train", "dev", "test")):
        line = f's{number}\tcommon_{number}.mp3\t"Ça va?\t2\t\tParis, north\tfr'
        text(root / f"{part}.tsv", HEAD, line, *(extra if part == "test" else ()))
        sounds(root, f"clips/common_{number}.mp3", seconds=0.3)
    return str(root)


def test_common_voice_keeps_quotation_marks_and_leaves_out_what_is_unknown(tmp_path):
    found = checked("common_voice", root=voices(tmp_path))
    assert sizes(found) == (1, 1, 1)
    assert found["common_1"].labels == {
        "transcript": '"Ça va?',
        "speaker": "s1",
        "accents": "Paris, north",
        "locale": "fr",
    }


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("s0\tcommon_2\tx\t0\t\t\tfr", r"id 'common_2' stands 2 times\n.*speaker 's0' stands in \['test', 'train'\]"),
        ("s2\tcommon_9\tx\t0\t\t\tfr", r"common_9\.mp3: no such audio file"),
        ("s2\tcommon_9.mp3\tx", r"test\.tsv: 1 faults(.|\n)*row 3 has not 7 cells"),
    ],
)
def test_traps_of_common_voice(line, message, tmp_path):
    with pytest.raises(CorpusError, match=message):
        checked("common_voice", root=voices(tmp_path, line))


def test_a_missing_table_of_common_voice_says_where_to_get_it(tmp_path):
    with pytest.raises(CorpusError, match=r"no other\.tsv here; fetch a language at"):
        checked("common_voice", root=voices(tmp_path), train="other")


# --- QUESST 2014 --------------------------------------------------------------------------------------------------


def quesst(root: Path, *extra: str) -> str:
    place, base = root / "quesst14Database", "quesst14Database"
    clips = {
        "utterances": [("Audio/quesst14_00001", "nnenglish"), ("Audio/quesst14_00002", "czech")],
        "dev": [("dev_queries/quesst14_dev_0001", "nnenglish"), ("dev_queries/quesst14_dev_0002", "nnenglish")],
        "eval": [("eval_queries/quesst14_eval_0001", "nnenglish"), ("eval_queries/quesst14_eval_0002", "czech")],
    }
    for part, found in clips.items():
        sounds(place, *(f"{name}.wav" for name, _ in found))
        lines = [f"{base}/{name}.wav {language}" for name, language in found]
        text(place / "scoring" / f"language_key_{part}.lst", *lines, *(extra if part == "dev" else ()))
    for part in ("dev", "eval"):
        lines = [f"LEXEME quesst14_{n:05d} 1 0.0 1.0 quesst14_{part}_0001 lex <NA> <NA>" for n in (1, 2)]
        truth = place / "scoring" / f"groundtruth_quesst14_{part}" / f"quesst14_{part}.rttm"
        text(truth, "SPEAKER quesst14_00001 1 0.0 1.0 <NA> <NA> x <NA>", *lines)
    return str(root)


def test_queries_know_the_documents_of_their_language(tmp_path):
    found = checked("quesst14", root=quesst(tmp_path))
    assert sizes(found) == (1, 2, 1)
    assert found["quesst14_00001"].labels == {"role": "document", "language": "nnenglish"}
    query = {"role": "query", "language": "nnenglish"}
    assert found["quesst14_dev_0001"].labels == query | {"documents": "quesst14_00001"}
    assert found["quesst14_dev_0002"].labels == query
    every = checked("quesst14", root=str(tmp_path), language="")
    assert sizes(every) == (2, 2, 2)
    assert every["quesst14_eval_0001"].labels["documents"] == "quesst14_00001,quesst14_00002"


def test_traps_of_quesst14(tmp_path):
    with pytest.raises(CorpusError, match=r"1 faults.*\n.*'nonsense' is no sound and its language"):
        checked("quesst14", root=quesst(tmp_path, "nonsense"))
    with pytest.raises(CorpusError, match=r"dev_queries/lost\.wav: no such audio file"):
        checked("quesst14", root=quesst(tmp_path, "quesst14Database/dev_queries/lost.wav nnenglish"))
    with pytest.raises(CorpusError, match="with the language 'klingon': no clips of this corpus here"):
        checked("quesst14", root=str(tmp_path), language="klingon")
