"""`pegbox corpus`: what a corpus holds and what is wrong with it, counted; and its manifest, read again."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from _layouts import checked, made, sounds, text
from test_corpora_read import l2arctic
from test_corpora_turns import kaldi, meeting
from test_corpora_words import fluent

from pegbox import census
from pegbox.cli import main
from pegbox.errors import CorpusError

HEAD = "path,split,speaker,word"


def table(root: Path, *lines: str) -> str:
    sounds(root, "a.wav", "b.wav", "c.wav", seconds=0.5)
    text(root / "m.csv", HEAD, *lines)
    return f'manifest(path="{root}/m.csv", disjoint="speaker")'


def found(taken: census.Census, kind: str = "faults") -> dict[str, tuple[int, str]]:
    return {each.what: (each.count, each.examples[0]) for each in getattr(taken, kind)}


def test_hours_clips_speakers_and_labels_are_counted_by_split(tmp_path):
    spec = table(tmp_path, "a.wav,train,s1,yes", "b.wav,dev,s2,no", "c.wav,test,s3,yes")
    taken = census.take(spec)
    assert not taken.faults and not taken.notes and taken.rates == {16_000: 3}
    assert [part.split for part in taken.parts] == ["train", "valid", "test"]
    train = taken.parts[0]
    assert (train.clips, train.hours, train.speakers) == (1, pytest.approx(0.5 / 3600), 1)
    assert train.values == {"speaker": 1, "word": 1} and train.labels["word"] == {"yes": 1}


def test_everything_wrong_is_counted_at_once(tmp_path):
    lines = ["a.wav,train,s1,yes", "a.wav,train,s1,yes", "B.wav,test,s1,no", "no.wav,test,s3,", "bad.wav,dev,s4,x"]
    spec = table(tmp_path, *lines)
    (tmp_path / "bad.wav").write_bytes(b"RIFF")
    taken = census.take(spec)
    faults, notes = found(taken), found(taken, "notes")
    assert faults["an id stands more than once"] == (1, "a.wav")
    assert faults["a sound is there in other letters"] == (1, f"B.wav: {tmp_path}/B.wav is b.wav")
    assert faults["a sound is missing"] == (1, f"no.wav: {tmp_path}/no.wav")
    assert faults["a sound cannot be read"][1].startswith(f"bad.wav: {tmp_path}/bad.wav: not readable audio")
    assert faults["a speaker stands in two splits"] == (1, "'s1' in ['test', 'train']")
    assert notes["a row has no 'word', or an empty one"] == (1, "no.wav")
    assert notes["a sound beside the others stands in no row"][0] == 2


def test_times_and_turns_outside_are_faults(tmp_path):
    sounds(tmp_path, "a.wav", seconds=1)
    turns = [json.dumps([["x", 0.5, 1.5]]), json.dumps([["x", 0.5, 0.2]]), "x", json.dumps([["x", 0, 1]])]
    lines = [{"path": "a.wav", "id": f"r{n}", "turns": each} for n, each in enumerate(turns)]
    lines += [{"path": "a.wav", "id": "late", "start": 0.5, "end": 2}]
    text(tmp_path / "m.jsonl", *(json.dumps(line | {"split": "train"}) for line in lines))
    faults = found(census.take(f'manifest(path="{tmp_path}/m.jsonl", id="id", valid=0.0)'))
    assert faults["a turn lies outside its clip"] == (2, "r0: ('x', 0.5, 1.5)")
    assert faults["turns cannot be read"] == (1, "r2: x")
    assert faults["times lie outside the sound"] == (1, "late: 0.5 to 2.0 of 1.000 s")


def test_deep_finds_the_same_sound_in_two_splits_and_what_cannot_be_decoded(tmp_path):
    spec = table(tmp_path, "a.wav,train,s1,yes", "b.wav,test,s2,no", "c.wav,test,s3,yes", "d.wav,test,s3,yes")
    sounds(tmp_path, "c.wav", "d.wav", seconds=0.25)
    assert not census.take(spec).faults
    taken = census.take(spec, deep=True)
    assert found(taken)["the same sound stands in two splits"] == (1, "a.wav, b.wav")
    assert found(taken, "notes")["the same sound has several names"] == (1, "c.wav, d.wav")


def test_of_several_speakers_each_counts(tmp_path):
    root = kaldi(tmp_path)
    taken = census.take(census.spec("librimix", root))
    assert not taken.faults and [part.speakers for part in taken.parts] == [2, 2, 2]


@pytest.mark.parametrize(
    ("name", "root", "spec"),
    [
        ("gtzan", "/x", 'gtzan(root="/x")'),
        ("manifest", "/x.csv", 'manifest(path="/x.csv")'),
        ("gtzan(fold=2)", "/x", 'gtzan(fold=2, root="/x")'),
        ("synthetic_music", "/x", 'synthetic_music(root="/x")'),
        ('esc50(root="/x")', None, 'esc50(root="/x")'),
    ],
)
def test_a_name_and_a_root_make_a_spec(name, root, spec):
    assert census.spec(name, root) == spec


@pytest.mark.parametrize(
    ("name", "layout"),
    [
        ("fluent_speech_commands", fluent),
        ("librimix", kaldi),
        ("l2arctic", l2arctic),
        ("rttm", lambda root: str(meeting(root, *(f"m{n}" for n in range(10))))),
    ],
)
def test_a_prepared_corpus_is_read_again_the_same(name, layout, tmp_path):
    root = layout(tmp_path / "corpus")
    count, spec = census.prepare(census.spec(name, root), tmp_path / "m.jsonl")
    before = checked(name, root=root)
    again = census.corpora.build(spec)
    with_id = [replace(row, labels={**row.labels, "id": row.id}) for row in before.values()]
    assert again.rows() == with_id and count == len(before)
    assert (again.disjoint, again.stratify) == (made(name, root=root).disjoint, made(name, root=root).stratify)
    assert (tmp_path / "m.jsonl").read_text(encoding="utf-8").count(str(tmp_path)) == 0  # it may move with its folder


def test_folds_and_times_survive_and_no_split_is_drawn_anew(tmp_path):
    sounds(tmp_path, "a.wav", "b.wav", seconds=1)
    lines = ["path,id,split,fold,start,end", "a.wav,x,train,0,0,0.5", "a.wav,y,train,3,0.25,1", "b.wav,z,test,,,"]
    text(tmp_path / "m.csv", *lines)
    first = f'manifest(path="{tmp_path}/m.csv", id="id", valid=0.0)'
    _, spec = census.prepare(first, tmp_path / "n.jsonl")
    assert "valid=0.0" in spec
    assert census.corpora.build(spec).rows() == census.corpora.build(first).rows()


def test_what_cannot_be_trusted_is_not_prepared(tmp_path):
    spec = table(tmp_path, "a.wav,train,s1,yes", "b.wav,test,s1,no")
    with pytest.raises(CorpusError, match="speaker 's1' stands in"):
        census.prepare(spec, tmp_path / "n.jsonl")
    assert not (tmp_path / "n.jsonl").exists()
    with pytest.raises(CorpusError, match=r"n\.csv: the manifest's name ends with \.jsonl"):
        census.prepare(spec, tmp_path / "n.csv")
    text(tmp_path / "m.csv", "path,split,start,from,to", "a.wav,train,x,0,0.1", "b.wav,test,y,0,0.1")
    with pytest.raises(CorpusError, match=r"the labels \['start'\] bear names of the manifest's columns"):
        census.prepare(f'manifest(path="{tmp_path}/m.csv", start="from", end="to")', tmp_path / "n.jsonl")


def command(monkeypatch, capsys, *words: object) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["pegbox", "corpus", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.out, said.err


def test_the_commands(tmp_path, monkeypatch, capsys):
    root = fluent(tmp_path / "fsc")
    code, out, _ = command(monkeypatch, capsys, "check", "fluent_speech_commands", root)
    assert code == 0 and "0 faults" in out and "16000 Hz 3" in out
    assert re.search(r"action +│ activate +│ 1 +│ 1 +│ 1", out)
    code, out, _ = command(
        monkeypatch, capsys, "prepare", census.spec("fluent_speech_commands", root), tmp_path / "m.jsonl"
    )
    assert code == 0 and "3 rows; read them with manifest(path=" in out
    (tmp_path / "fsc/wavs/speakers/s1/a1.wav").unlink()
    code, out, _ = command(monkeypatch, capsys, "check", "fluent_speech_commands", root)
    assert code == 3 and "fault: a sound is missing: 1" in out and "s1/a1" in out
    code, out, _ = command(monkeypatch, capsys, "check", "fluent_speech_commands", root, "--json")
    assert code == 3 and json.loads(out)["faults"][0]["what"] == "a sound is missing"
    code, _, err = command(monkeypatch, capsys, "check", "fluent_speech_commands", tmp_path / "none")
    assert code == 3 and "no such folder; ask for Fluent Speech Commands" in err
    code, _, err = command(monkeypatch, capsys, "check", "fluent_speech", root)
    assert code == 2 and "did you mean 'fluent_speech_commands'" in err


def test_checking_a_corpus_imports_no_torch(tmp_path):
    script = (
        "import sys; from pegbox import cli, census\n"
        f"census.take(census.spec('fluent_speech_commands', {fluent(tmp_path)!r}))\n"
        "print('torch' in sys.modules or 'transformers' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout == "False\n", done.stderr
