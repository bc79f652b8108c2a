"""LibriSpeech and VoxCeleb1: rows from the official layouts, and their traps."""

from pathlib import Path

import pytest
from _layouts import checked, made, sizes, sounds, text

from pegbox.errors import CorpusError

# --- LibriSpeech --------------------------------------------------------------------------------------------------

PARTS = {"train-clean-100": "19", "dev-clean": "84", "test-clean": "61"}


def libri(root: Path) -> str:
    for part, speaker in PARTS.items():
        folder, name = f"{part}/{speaker}/7", f"{speaker}-7"
        sounds(root, f"{folder}/{name}-0000.flac", f"{folder}/{name}-0001.flac")
        text(root / folder / f"{name}.trans.txt", f"{name}-0000 OH NO", f"{name}-0001 A NO")
    return str(root)


@pytest.mark.parametrize("inside", ["", "LibriSpeech"])
def test_librispeech_by_its_parts(inside, tmp_path):
    libri(tmp_path / inside)
    found = checked("librispeech", root=str(tmp_path))
    assert sizes(found) == (2, 2, 2)
    assert found["84-7-0001"].labels == {"transcript": "A NO", "speaker": "84", "chapter": "7"}
    assert found["84-7-0001"].split == "valid"
    swapped = checked("librispeech", root=str(tmp_path), train=["dev-clean"], valid=[], test=["test-clean"])
    assert sizes(swapped) == (2, 0, 2)


def test_phonemes_come_from_the_first_line_of_the_first_lexicon(tmp_path):
    first = text(tmp_path / "a.txt", "NO  N OW1", "OH\tOW1", "NO(2)  N OW0")
    second = text(tmp_path / "b.txt", "no  X", "A  AH0")
    found = checked("librispeech", root=libri(tmp_path / "libri"), lexicon=[str(first), str(second)])
    assert found["19-7-0000"].labels["phonemes"] == "OW1 N OW1"
    assert found["19-7-0001"].labels["phonemes"] == "AH0 N OW1"
    with pytest.raises(CorpusError, match=r"1 faults in its lists:\n  no pronunciation of 'A' \(19-7-0001\)"):
        checked("librispeech", root=str(tmp_path / "libri"), lexicon=[str(first)])
    text(second, "A")
    with pytest.raises(CorpusError, match="'A' has no phonemes"):
        checked("librispeech", root=str(tmp_path / "libri"), lexicon=[str(second)])


def test_traps_of_librispeech(tmp_path):
    root = Path(libri(tmp_path))
    (root / "dev-clean/84/7/._84-7.trans.txt").write_bytes(b"\x00\xff")
    assert sizes(checked("librispeech", root=str(root))) == (2, 2, 2)
    sounds(root, "dev-clean/84/7/84-7-0002.flac")
    text(root / "test-clean/61/7/61-7.trans.txt", "61-7-0000 A", "61-7-0001", "61-7-0009 B")
    with pytest.raises(CorpusError) as caught:
        checked("librispeech", root=str(root))
    words = str(caught.value)
    assert "4 faults" in words and "61-7-0001 has no text" in words and "61-7-0009 has no sound" in words
    assert "84-7-0002.flac: stands in no .trans.txt" in words
    with pytest.raises(CorpusError, match=r"no train-clean-360 here; unpack https://www\.openslr\.org/12"):
        checked("librispeech", root=str(root), train=["train-clean-360"])


def test_a_speaker_of_two_parts_is_refused(tmp_path):
    root = Path(libri(tmp_path))
    sounds(root, "test-clean/19/8/19-8-0000.flac")
    text(root / "test-clean/19/8/19-8.trans.txt", "19-8-0000 A")
    with pytest.raises(CorpusError, match=r"speaker '19' stands in \['test', 'train'\]"):
        checked("librispeech", root=str(root))


# --- VoxCeleb1 ----------------------------------------------------------------------------------------------------


def vox(root: Path, dev: str = "dev/wav", test: str = "test/wav") -> str:
    train = [f"{dev}/id100{n:02d}/v{m}/0000{m}.wav" for n in range(1, 9) for m in (1, 2)]
    tested = [f"{test}/id102{n:02d}/v{m}/0000{m}.wav" for n in range(70, 72) for m in (1, 2, 3)]
    sounds(root, *train, *tested)
    clips = [f"id102{n:02d}/v{m}/0000{m}.wav" for n in range(70, 72) for m in (1, 2)]
    text(root / "veri_test.txt", f"1 {clips[0]} {clips[1]}", f"0 {clips[0]} {clips[2]}", f"0 {clips[3]} {clips[1]}")
    text(root / "iden_split.txt", "1 id10001/v1/00001.wav", "3 id10001/v2/00002.wav", "2 id10270/v1/00001.wav")
    return str(root)


def test_known_speakers_by_the_official_list(tmp_path):
    found = checked("voxceleb1", root=vox(tmp_path))
    assert sizes(found) == (1, 1, 1)
    row = found["id10001/v2/00002.wav"]
    assert row.split == "test" and row.labels == {"speaker": "id10001", "video": "v2"}
    text(tmp_path / "iden_split.txt", "1 id10001/v1/00001.wav", "3 id10001/v9/00002.wav")
    with pytest.raises(CorpusError, match=r"1 faults.*\n  id10001/v9/00002\.wav is in no wav folder"):
        checked("voxceleb1", root=str(tmp_path))
    text(tmp_path / "iden_split.txt", "4 id10001/v1/00001.wav", "1 Adele/00002.wav")
    with pytest.raises(CorpusError, match=r"2 faults.*\n  line 1: '4 id10001"):
        checked("voxceleb1", root=str(tmp_path))


@pytest.mark.parametrize("layout", [("dev/wav", "test/wav"), ("wav", "wav")])
def test_unknown_speakers_by_the_official_trials(layout, tmp_path):
    root = vox(tmp_path, *layout)
    found = checked("voxceleb1", root=root, protocol="verify", valid=0.25)
    assert sizes(found) == (12, 4, 4)
    assert {row.labels["speaker"] for row in found.values() if row.split == "test"} == {"id10270", "id10271"}
    trials = made("voxceleb1", root=root, protocol="verify").trials()
    assert trials == [
        ("id10270/v1/00001.wav", "id10270/v2/00002.wav", True),
        ("id10270/v1/00001.wav", "id10271/v1/00001.wav", False),
        ("id10271/v2/00002.wav", "id10270/v2/00002.wav", False),
    ]
    assert {name for left, right, _ in trials for name in (left, right)} <= {*found}


def test_traps_of_voxceleb1(tmp_path):
    root = vox(tmp_path)
    sounds(tmp_path, "test/wav/id10001/v1/00001.wav")
    with pytest.raises(CorpusError, match=r"id10001/v1/00001\.wav lies in .*dev.* and .*test"):
        checked("voxceleb1", root=root)
    text(tmp_path / "veri_test.txt", "1 id1/a.wav id2/a.wav")
    with pytest.raises(CorpusError, match=r"line 1: '1 id1/a\.wav id2/a\.wav' is not one of 0, 1 and then"):
        checked("voxceleb1", root=root, protocol="verify")
    text(
        tmp_path / "veri_test.txt",
        "0 id1/v/a.wav id1/v/b.wav",
        "1 id1/v/a.wav id2/v/a.wav",
        "1 id1/v/a.wav id1/v/b.wav",
    )
    with pytest.raises(CorpusError, match=r"2 faults.*\n  'id1/v/a\.wav id1/v/b\.wav' is marked as the wrong one"):
        made("voxceleb1", root=root, protocol="verify").trials()
    with pytest.raises(CorpusError, match=r"no iden_split\.txt here; ask for VoxCeleb1"):
        checked("voxceleb1", root=str(tmp_path / "dev"))
    text(tmp_path / "empty" / "iden_split.txt", "1 id10001/v1/00001.wav")
    with pytest.raises(CorpusError, match="no wav, dev/wav or test/wav here"):
        checked("voxceleb1", root=str(tmp_path / "empty"))
