"""IEMOCAP, ESD and MELD: rows from the official layouts, and their traps."""

from collections import Counter
from pathlib import Path

import pytest
from _layouts import checked, made, sizes, sounds, text

from pegbox.errors import CorpusError

# --- IEMOCAP ------------------------------------------------------------------------------------------------------

CODES = ("neu", "hap", "exc", "ang", "sad", "fru", "xxx")


def iemocap(root: Path, *extra: str) -> str:
    for session in range(1, 6):
        for kind in ("impro01", "script02_1"):
            place, dialog = root / f"Session{session}", f"Ses0{session}F_{kind}"
            names = [f"{dialog}_{who}{n:03d}" for who in "FM" for n in range(len(CODES))]
            judged = [f"[{n}.0000 - {n}.5000]\t{name}\t{CODES[n % 7]}\t[2.5, 2.5, 2.5]" for n, name in enumerate(names)]
            other = ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]", "C-E2:\tNeutral;\t()"]
            text(place / "dialog" / "EmoEvaluation" / f"{dialog}.txt", *other, *judged, *extra)
            said = [f"{name} [000.0000-000.5000]: It is {n}. " for n, name in enumerate(names)]
            text(
                place / "dialog" / "transcriptions" / f"{dialog}.txt",
                *said,
                "M: Uh [LAUGHTER] caf\xe9.",
                encoding="latin-1",
            )
            sounds(place, *(f"sentences/wav/{dialog}/{name}.wav" for name in names))
    (root / "Session1/dialog/EmoEvaluation/._Ses01F_impro01.txt").write_bytes(b"\x00\x05")
    (root / "Session1/dialog/EmoEvaluation/Categorical").mkdir(exist_ok=True)
    return str(root)


@pytest.mark.parametrize("inside", ["", "IEMOCAP_full_release"])
def test_iemocap_has_four_classes_and_a_fold_a_session(inside, tmp_path):
    iemocap(tmp_path / inside)
    for fold in range(1, 6):
        found = checked("iemocap", root=str(tmp_path), fold=fold)
        assert sizes(found) == (60, 20, 20)
        assert {row.labels["speaker"] for row in found.values() if row.split == "test"} == {f"{fold}F", f"{fold}M"}
        counted = Counter(row.labels["emotion"] for row in found.values())
        assert counted == {"happy": 40, "neutral": 20, "angry": 20, "sad": 20}
    assert found["Ses03F_impro01_M002"].labels == {
        "emotion": "happy",
        "part": "improvised",
        "speaker": "3M",
        "transcript": "It is 9.",
    }


def test_iemocap_keeps_codes_or_a_kind_of_dialogue(tmp_path):
    root = iemocap(tmp_path)
    every = checked("iemocap", root=root, classes=11)
    assert len(every) == 140 and {row.labels["emotion"] for row in every.values()} == {*CODES}
    assert len(checked("iemocap", root=root, part="improvised")) == 50
    with pytest.raises(CorpusError, match="fold 6: the corpus has folds"):
        checked("iemocap", root=root, fold=6)


def test_traps_of_iemocap(tmp_path):
    root = iemocap(tmp_path, "[9.0 - 9.5]\tSes09F_impro01_F000\tneu\t[2, 2, 2]")
    with pytest.raises(
        CorpusError, match=r"10 faults.*\n.*'Ses09F_impro01_F000' with the emotion 'neu' does not belong"
    ):
        checked("iemocap", root=root)
    iemocap(tmp_path)
    (tmp_path / "Session2/sentences/wav/Ses02F_impro01/Ses02F_impro01_F000.wav").unlink()
    with pytest.raises(CorpusError, match=r"Ses02F_impro01_F000\.wav: no such audio file"):
        checked("iemocap", root=root)
    with pytest.raises(CorpusError, match=r"no Session1, no Session3.*ask for IEMOCAP"):
        (tmp_path / "b" / "Session2").mkdir(parents=True)
        made("iemocap", root=str(tmp_path / "b")).rows()


# --- ESD ----------------------------------------------------------------------------------------------------------

EMOTIONS = ("Angry", "Happy", "Neutral", "Sad", "Surprise")


def esd(root: Path, speakers: tuple[str, ...] = ("0011", "0012")) -> str:
    for who in speakers:
        numbers = [(emotion, part, 3 * n + m) for n, emotion in enumerate(EMOTIONS) for m, part in enumerate(SPLITS)]
        sounds(root, *(f"{who}/{emotion}/{part}/{who}_{n:06d}.wav" for emotion, part, n in numbers))
        said = [f"{who}_{n:06d}\tNo {n}.\t{emotion}" for emotion, _, n in numbers[1:]]
        text(root / who / f"{who}.txt", *said, encoding="utf-16" if who == "0012" else "utf-8")
    text(root / "ReadMe.txt", "x")
    return str(root)


SPLITS = ("train", "evaluation", "test")


def test_esd_by_its_parts(tmp_path):
    found = checked("esd", root=esd(tmp_path), speakers=["0011", "0012"])
    assert sizes(found) == (10, 10, 10)
    assert found["0012_000004"].labels == {"emotion": "happy", "speaker": "0012", "transcript": "No 4."}
    assert found["0012_000004"].split == "valid"
    assert "transcript" not in found["0011_000000"].labels


def test_traps_of_esd(tmp_path):
    root = esd(tmp_path)
    with pytest.raises(CorpusError, match=r"120 faults.*\n  no folder 0013/Angry/train"):
        checked("esd", root=root)
    (tmp_path / "0011/Sad").rename(tmp_path / "0011/sad.old")
    with pytest.raises(CorpusError, match=r"3 faults.*\n  no folder 0011/Sad/train"):
        checked("esd", root=root, speakers=["0011"])
    flat = sounds(tmp_path / "flat", "0011/Angry/0011_000001.wav")
    with pytest.raises(CorpusError, match=r"no 0011/Angry/train here; ask for ESD"):
        checked("esd", root=str(flat))


# --- MELD ---------------------------------------------------------------------------------------------------------

HEAD = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season"


def meld(root: Path, *extra: str) -> str:
    for part in ("train", "dev", "test"):
        lines = ['1,"Oh, no.",Joey,surprise,negative,0,0,1', "2,Yes,Ross,joy,positive,0,1,1"]
        text(root / f"{part}_sent_emo.csv", HEAD, *lines, *(extra if part == "dev" else ()))
        sounds(root, f"{part}/dia0_utt0.wav", f"{part}/dia0_utt1.wav")
    sounds(root, "test/final_videos_testdia0_utt0.wav")
    return str(root)


def test_meld_leaves_out_sounds_without_a_row_and_rows_that_the_release_lost(tmp_path):
    found = checked("meld", root=meld(tmp_path, "3,Hm,Ross,fear,negative,110,7,1"))
    assert sizes(found) == (2, 2, 2)
    assert found["test/dia0_utt0"].labels == {"emotion": "surprise", "speaker": "Joey", "transcript": "Oh, no."}
    with pytest.raises(CorpusError, match=r"dev/dia110_utt7: no sound; give lost=\['dev/dia110_utt7'\]"):
        checked("meld", root=str(tmp_path), lost=[])


def test_traps_of_meld(tmp_path):
    with pytest.raises(CorpusError, match=r"1 faults.*\n  dev/dia0_utt1: happy is no emotion of MELD"):
        checked("meld", root=meld(tmp_path, "3,Hm,Ross,happy,positive,0,1,1"))
    with pytest.raises(CorpusError, match="id 'dev/dia0_utt1' stands 2 times"):
        checked("meld", root=meld(tmp_path, "3,Hm,Ross,joy,positive,0,1,1"))
