"""VCTK, L2-ARCTIC, LibriTTS, LJ Speech and FLEURS: rows from the official layouts, and their traps."""

from collections import Counter
from pathlib import Path

import pytest
from _layouts import checked, made, sizes, sounds, text

from pegbox.errors import CorpusError

# --- VCTK ---------------------------------------------------------------------------------------------------------


def vctk(root: Path, counts: dict[str, int], place: str = "wav48", suffixes: tuple[str, ...] = (".wav",)) -> str:
    for who, count in counts.items():
        names = [f"{who}_{n:03d}" for n in range(count)]
        sounds(root, *(f"{place}/{who}/{name}{suffix}" for name in names for suffix in suffixes))
        for name in names[1:]:
            text(root / "txt" / who / f"{name}.txt", "Please call Stella. ")
    return str(root)


def test_vctk_tests_the_last_tenth_of_each_speaker(tmp_path):
    root = vctk(tmp_path, {"p225": 25, "p226": 10, "p280": 10, "p315": 3, "s5": 2})
    found = checked("vctk", root=root)
    assert Counter((row.labels["speaker"], row.split) for row in found.values()) == {
        ("p225", "train"): 21,
        ("p225", "valid"): 2,
        ("p225", "test"): 2,
        ("p226", "train"): 8,
        ("p226", "valid"): 1,
        ("p226", "test"): 1,
    }
    assert found["p225_024"].split == "test" and found["p225_021"].split == "valid"
    assert found["p225_024"].labels == {"speaker": "p225", "prompt": "024", "transcript": "Please call Stella."}
    assert "transcript" not in found["p225_000"].labels


def test_vctk_092_has_two_microphones_and_few_clips_are_refused(tmp_path):
    both = ("_mic1.flac", "_mic2.flac")
    root = vctk(tmp_path, {"p225": 10}, "wav48_silence_trimmed", both)
    text(tmp_path / "wav48_silence_trimmed" / "log.txt", "x")
    for mic in ("mic1", "mic2"):
        found = checked("vctk", root=root, mic=mic)
        assert sizes(found) == (8, 1, 1) and found["p225_009"].audio.endswith(f"p225_009_{mic}.flac")
    vctk(tmp_path, {"p300": 9}, "wav48_silence_trimmed", both)
    with pytest.raises(CorpusError, match="p300 has 9 clips, too few to split"):
        checked("vctk", root=root)
    with pytest.raises(CorpusError, match="no wav48_silence_trimmed or wav48 here; unpack"):
        checked("vctk", root=str(tmp_path / "txt"))


# --- L2-ARCTIC ----------------------------------------------------------------------------------------------------


def l2arctic(root: Path, inner: str = "") -> str:
    for who in ("ABA", "BWC", "SKA", "YDCK", "TXHC"):
        place = root / who / inner.format(who)
        sounds(place, *(f"wav/arctic_a{n:04d}.wav" for n in range(10)))
        for n in range(10):
            text(place / "transcript" / f"arctic_a{n:04d}.txt", f"Author {n}")
    return str(sounds(root, "suitcase_corpus/aba.wav"))


@pytest.mark.parametrize("inner", ["", "{}"])
def test_l2arctic_keeps_sentences_apart_or_speakers(inner, tmp_path):
    root = l2arctic(tmp_path, inner)
    found = checked("l2arctic", root=root)
    assert sizes(found) == (40, 5, 5)
    assert found["ABA/arctic_a0003"].labels == {"transcript": "Author 3", "speaker": "ABA", "prompt": "arctic_a0003"}
    apart = checked("l2arctic", root=root, apart="speaker", valid=0.2, test=0.2)
    assert sizes(apart) == (30, 10, 10)
    assert sizes(checked("l2arctic", root=root, speakers=["ABA"])) == (8, 1, 1)
    assert made("l2arctic", root=root, apart="speaker").disjoint == "speaker"


def test_traps_of_l2arctic(tmp_path):
    root = l2arctic(tmp_path)
    (tmp_path / "ABA/transcript/arctic_a0001.txt").unlink()
    with pytest.raises(CorpusError, match=r"1 faults.*\n  ABA/arctic_a0001 has no transcript"):
        checked("l2arctic", root=root)
    with pytest.raises(CorpusError, match="no XXX here; ask for L2-ARCTIC"):
        checked("l2arctic", root=root, speakers=["XXX"])
    with pytest.raises(CorpusError, match=r"no clips of this corpus here"):
        checked("l2arctic", root=str(tmp_path / "suitcase_corpus"))


# --- LibriTTS -----------------------------------------------------------------------------------------------------


def libritts(root: Path) -> str:
    for part, who in (("train-clean-100", "19"), ("dev-clean", "84"), ("test-clean", "61")):
        name = f"LibriTTS/{part}/{who}/7/{who}_7_000001_000000"
        sounds(root, f"{name}.wav")
        text(root / f"{name}.normalized.txt", "Mister Bell")
        text(root / f"{name}.original.txt", "Mr. Bell")
        text(root / f"LibriTTS/{part}/{who}/7/{who}_7.trans.tsv", "x\ty\tz")
    return str(root)


def test_libritts_has_two_spellings(tmp_path):
    libritts(tmp_path)
    found = checked("libritts", root=str(tmp_path))
    assert sizes(found) == (1, 1, 1)
    assert found["61_7_000001_000000"].labels == {"transcript": "Mister Bell", "speaker": "61", "chapter": "7"}
    assert (
        checked("libritts", root=str(tmp_path), text="original")["61_7_000001_000000"].labels["transcript"]
        == "Mr. Bell"
    )
    sounds(tmp_path, "LibriTTS/dev-clean/84/7/84_7_000002_000000.wav")
    with pytest.raises(
        CorpusError, match=r"84_7_000002_000000\.wav has no text in 84_7_000002_000000\.normalized\.txt"
    ):
        checked("libritts", root=str(tmp_path))
    with pytest.raises(CorpusError, match=r"no train-other-500 here; unpack https://www\.openslr\.org/60"):
        checked("libritts", root=str(tmp_path), train=["train-other-500"])


# --- LJ Speech ----------------------------------------------------------------------------------------------------


def ljspeech(root: Path) -> str:
    names = [f"LJ{chapter:03d}-{n:04d}" for chapter in range(1, 11) for n in (1, 2)]
    sounds(root, *(f"wavs/{name}.wav" for name in names))
    spoken = {
        "LJ001-0001": 'He said "no|He said "no',
        "LJ002-0002": "in 1825, raison d\u2019être|in eighteen twenty-five",
    }
    lines = [f"{name}|{spoken.get(name, 'Dr. A|Doctor A')}" for name in names]
    lines[-1] = f"{names[-1]}|not normalised"
    text(root / "metadata.csv", *lines)
    return str(root)


@pytest.mark.parametrize("inside", ["", "LJSpeech-1.1"])
def test_ljspeech_keeps_chapters_apart_and_quotation_marks_are_text(inside, tmp_path):
    ljspeech(tmp_path / inside)
    found = checked("ljspeech", root=str(tmp_path), valid=0.1, test=0.2)
    assert sizes(found) == (14, 2, 4)
    assert found["LJ001-0001"].labels == {"transcript": 'He said "no', "chapter": "LJ001"}
    assert found["LJ002-0002"].labels["transcript"] == "in eighteen twenty-five"
    assert found["LJ010-0002"].labels["transcript"] == "not normalised"
    original = checked("ljspeech", root=str(tmp_path), text="original")
    assert original["LJ002-0002"].labels["transcript"] == "in 1825, raison d\u2019être"
    assert original["LJ003-0001"].labels["transcript"] == "Dr. A"


def test_traps_of_ljspeech(tmp_path):
    root = Path(ljspeech(tmp_path))
    lines = (root / "metadata.csv").read_text().splitlines()
    text(root / "metadata.csv", *lines[2:], lines[2], "LJ099-0001|a|a", "LJ001-0001||")
    with pytest.raises(CorpusError) as caught:
        checked("ljspeech", root=str(root))
    words = str(caught.value)
    assert "4 faults" in words and "line 19: LJ002-0001 has its id twice" in words
    assert "line 20: LJ099-0001 has no sound" in words and "line 21: LJ001-0001 has no text" in words
    assert "LJ001-0002.wav: stands in no line of metadata.csv" in words
    (root / "metadata.csv").unlink()
    with pytest.raises(CorpusError, match=r"no metadata\.csv here; unpack https://keithito\.com"):
        checked("ljspeech", root=str(root))


# --- FLEURS -------------------------------------------------------------------------------------------------------


def fleurs(root: Path, *extra: str) -> str:
    for number, part in enumerate(("train", "dev", "test")):
        line = f'{number}\t{number}00.wav\tA "flea".\ta flea\ta | f l e a |\t800\tFEMALE'
        text(root / f"{part}.tsv", line, *(extra if part == "dev" else ()))
        sounds(root, f"audio/{part}/{number}00.wav")
    return str(root)


def test_fleurs_by_its_parts(tmp_path):
    found = checked("fleurs", root=fleurs(tmp_path))
    assert sizes(found) == (1, 1, 1)
    assert found["dev/100.wav"].labels == {
        "transcript": "a flea",
        "raw": 'A "flea".',
        "sentence": "1",
        "gender": "female",
    }


def test_traps_of_fleurs(tmp_path):
    with pytest.raises(CorpusError, match=r"dev\.tsv: line 2 has 3 cells, not 7"):
        checked("fleurs", root=fleurs(tmp_path, "1\t101.wav\tx"))
    with pytest.raises(CorpusError, match=r"dev/101\.wav: no such audio file"):
        checked("fleurs", root=fleurs(tmp_path, "1\t101.wav\tx\tx\tx\t1\tMALE"))
    with pytest.raises(CorpusError, match=r"no train\.tsv.*fetch data/<language>"):
        checked("fleurs", root=str(tmp_path / "audio"))
