"""GTZAN, FSD50K and UrbanSound8K: rows from the official layouts, and their traps."""

from collections import Counter
from pathlib import Path

import pytest
from _layouts import checked, sizes, sounds, text

from pegbox.corpora.gtzan import GENRES
from pegbox.errors import CorpusError

# --- GTZAN --------------------------------------------------------------------------------------------------------


def music(root: Path, suffix: str = "wav") -> Path:
    return sounds(root, *(f"{genre}/{genre}.{n:05d}.{suffix}" for genre in GENRES for n in range(50, 70)))


@pytest.mark.parametrize("inside", ["", "genres", "genres_original"])
def test_gtzan_has_ten_even_folds_that_do_not_depend_on_the_fold(inside, tmp_path):
    music(tmp_path / inside)
    tested = set[str]()
    for fold in range(1, 11):
        found = checked("gtzan", root=str(tmp_path), fold=fold, skip=[])
        assert sizes(found) == (160, 20, 20)
        ids = {row.id for row in found.values() if row.split == "test"}
        assert Counter(found[name].labels["genre"] for name in ids) == dict.fromkeys(GENRES, 2)
        assert not ids & tested
        tested |= ids
    assert len(tested) == 200
    other = checked("gtzan", root=str(tmp_path), skip=[], seed=1)
    assert {row.id for row in other.values() if row.split == "test"} != ids


def test_the_unreadable_excerpt_of_gtzan_is_left_out_unless_asked_for(tmp_path):
    music(tmp_path)
    bad = tmp_path / "jazz" / "jazz.00054.wav"
    bad.write_bytes(b"no sound at all")
    found = checked("gtzan", root=str(tmp_path))
    assert len(found) == 199 and "jazz.00054" not in found
    with pytest.raises(CorpusError, match=r"1 faults in 200 rows:\n.*jazz\.00054\.wav: not readable audio"):
        checked("gtzan", root=str(tmp_path), skip=[])
    bad.unlink()
    assert checked("gtzan", root=str(tmp_path)).keys() == found.keys()


def test_an_artist_filter_is_applied_where_its_lists_are_given(tmp_path):
    music(tmp_path / "a", "au")
    lists = tmp_path / "lists"
    text(lists / "train_filtered.txt", "pop/pop.00050.wav", "jazz/jazz.00054.wav", "rock/rock.00050.wav")
    text(lists / "valid_filtered.txt", "pop/pop.00051.wav")
    text(lists / "test_filtered.txt", "rock/rock.00052.wav")
    found = checked("gtzan", root=str(tmp_path / "a"), filtered=str(lists))
    assert {name: row.split for name, row in found.items()} == {
        "pop.00050": "train",
        "rock.00050": "train",
        "pop.00051": "valid",
        "rock.00052": "test",
    }
    text(lists / "test_filtered.txt", "rock/rock.00050.wav", "rock/rock.00099.wav")
    with pytest.raises(CorpusError, match=r"2 faults.*\n  rock\.00050 stands in two lists\n  rock\.00099 has no sound"):
        checked("gtzan", root=str(tmp_path / "a"), filtered=str(lists))


def test_traps_of_gtzan(tmp_path):
    music(tmp_path)
    sounds(tmp_path, "pop/rock.00099.wav")
    with pytest.raises(CorpusError, match=r"rock\.00099\.wav: lies in another genre"):
        checked("gtzan", root=str(tmp_path))
    with pytest.raises(CorpusError, match=r"no blues, no classical.*unpack GTZAN"):
        checked("gtzan", root=str(tmp_path / "pop"))


# --- FSD50K -------------------------------------------------------------------------------------------------------


def freesound(root: Path, *extra: str) -> str:
    truth = root / "FSD50K.ground_truth"
    text(truth / "vocabulary.csv", "0,Bark,/m/1", "1,Dog,/m/2", "2,Rain,/m/3")
    text(truth / "dev.csv", "fname,labels,mids,split", '1,"Bark,Dog","/m/1,/m/2",train', "2,Rain,/m/3,val", *extra)
    text(truth / "eval.csv", "fname,labels,mids", '1,"Dog,Rain","/m/2,/m/3"')
    return str(sounds(root, "FSD50K.dev_audio/1.wav", "FSD50K.dev_audio/2.wav", "FSD50K.eval_audio/1.wav"))


def test_fsd50k_has_several_classes_a_clip_and_the_official_parts(tmp_path):
    found = checked("fsd50k", root=freesound(tmp_path))
    assert {name: (row.labels["tags"], row.split) for name, row in found.items()} == {
        "dev/1": ("Bark,Dog", "train"),
        "dev/2": ("Rain", "valid"),
        "eval/1": ("Dog,Rain", "test"),
    }


def test_traps_of_fsd50k(tmp_path):
    with pytest.raises(CorpusError) as caught:
        checked("fsd50k", root=freesound(tmp_path, "3,rain,/m/3,train", "4,Rain,/m/3,test"))
    assert "2 faults" in str(caught.value) and "dev.csv: 3: unknown classes ['rain']" in str(caught.value)
    assert "dev.csv: 4: unknown split 'test'" in str(caught.value)
    with pytest.raises(CorpusError, match=r"dev_audio/5\.wav: no such audio file"):
        checked("fsd50k", root=freesound(tmp_path, "5,Rain,/m/3,train"))
    with pytest.raises(CorpusError, match=r"no FSD50K\.ground_truth/dev\.csv.*unpack https://zenodo\.org"):
        checked("fsd50k", root=str(tmp_path / "FSD50K.dev_audio"))


# --- UrbanSound8K -------------------------------------------------------------------------------------------------

HEAD = "slice_file_name,fsID,start,end,salience,fold,classID,class"


def urban(root: Path, *extra: str) -> str:
    place = root / "UrbanSound8K"
    clips = [(f"{100 * fold + n}-3-0-{take}", fold, n) for fold in range(1, 11) for n in range(6) for take in (0, 1)]
    lines = [f"{name}.wav,{name.split('-')[0]},0,1,{n % 2 + 1},{fold},3,c{n % 3}" for name, fold, n in clips]
    text(place / "metadata" / "UrbanSound8K.csv", HEAD, *lines, *extra)
    sounds(place, *(f"audio/fold{fold}/{name}.wav" for name, fold, _ in clips))
    text(place / "audio" / "fold1" / ".DS_Store", "x")
    return str(root)


def test_urbansound8k_tests_an_official_fold(tmp_path):
    root = urban(tmp_path)
    for fold in (1, 10):
        found = checked("urbansound8k", root=root, fold=fold)
        assert sizes(found) == (96, 12, 12)
        assert {row.fold for row in found.values() if row.split == "test"} == {fold}
    row = found["205-3-0-1"]
    assert row.labels == {"event": "c2", "source": "205", "salience": "background"} and row.fold == 2


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1000-3-0-5.wav,1000,0,1,1,11,3,c0", "1000-3-0-5.wav: fold '11'"),
        ("101-3-0-5.wav,101,0,1,1,10,3,c0", "101-3-0-5.wav: no such audio file(.|\n)*source '101' stands in"),
        ("101-3-0-1.wav,101,0,1,1,1,3,c0", "id '101-3-0-1' stands 2 times"),
    ],
)
def test_traps_of_urbansound8k(line, message, tmp_path):
    with pytest.raises(CorpusError, match=message):
        checked("urbansound8k", root=urban(tmp_path, line))
