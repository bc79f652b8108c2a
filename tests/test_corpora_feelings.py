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
