"""Datasets of the hub: a local parquet dataset made here, with undecoded sounds, classes, lists and odd cells."""

from pathlib import Path

import pytest
from _layouts import checked, made, sizes, sounds

from pegbox.errors import CorpusError

datasets = pytest.importorskip("datasets", reason="the extra [hub] is not installed")


@pytest.fixture(autouse=True)
def _own_datasets_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets")


def parquet(root: Path, split: str, clips: int, empty: bool = False) -> Path:
    """Writes a table whose audio cells hold the bytes of FLAC files."""
    names = [f"{split}{n}" for n in range(clips)]
    sounds(root / "raw", *(f"{name}.flac" for name in names), *([] if clips else ["x.flac"]))
    features = datasets.Features(
        {
            "audio": {"bytes": datasets.Value("binary"), "path": datasets.Value("string")},
            "genre": datasets.ClassLabel(names=["pop", "rock"]),
            "tags": datasets.List(datasets.ClassLabel(names=["dog", "cat"])),
            "text": datasets.Value("string"),
            "bpm": datasets.Value("int32"),
            "name": datasets.Value("string"),
        }
    )
    cells = [{"bytes": (root / "raw" / f"{name}.flac").read_bytes(), "path": f"{name}.flac"} for name in names]
    cells[0] = {"bytes": None, "path": None} if empty else cells[0]
    columns = {"audio": cells, "genre": [n % 2 for n in range(clips)], "tags": [[0, 1]] * clips, "name": names}
    columns |= {"text": [None, *["oh, no"] * (clips - 1)], "bpm": list(range(clips))}
    (root / "data").mkdir(exist_ok=True)
    table = datasets.Dataset.from_dict(columns, features=features).cast_column("audio", datasets.Audio())
    table.to_parquet(root / "data" / f"{split}-00000-of-00001.parquet")
    return root / "data"


def test_a_dataset_gives_rows_and_keeps_its_sounds(tmp_path):
    parquet(tmp_path, "train", 4), parquet(tmp_path, "validation", 2)
    root = parquet(tmp_path, "test", 2)
    found = checked("hub", name=str(root))
    assert sizes(found) == (4, 2, 2)
    row = found["train/0000003"]
    assert row.labels == {"genre": "rock", "tags": "dog,cat", "text": "oh, no", "bpm": "3", "name": "train3"}
    assert "text" not in found["train/0000000"].labels and found["train/0000000"].labels["bpm"] == "0"
    assert Path(row.audio).read_bytes() == (tmp_path / "raw" / "train3.flac").read_bytes()
    assert Path(row.audio).parent == tmp_path / "cache" / "hub" and row.audio.endswith(".flac")
    before = {path: path.stat().st_mtime_ns for path in Path(row.audio).parent.iterdir()}
    again = checked("hub", name=str(root), id="name", stratify="genre")
    assert again["train3"].audio == row.audio
    assert before == {path: path.stat().st_mtime_ns for path in Path(row.audio).parent.iterdir()}


def test_splits_are_renamed_or_drawn(tmp_path):
    parquet(tmp_path, "train", 10)
    root = parquet(tmp_path, "test", 2)
    assert sizes(checked("hub", name=str(root), valid=0.2)) == (8, 2, 2)
    assert sizes(checked("hub", name=str(root), splits={"train": "train", "test": "valid"})) == (10, 2, 0)
    alone = parquet(tmp_path / "alone", "train", 10)
    assert sizes(checked("hub", name=str(alone), test=0.2, valid=0.2)) == (6, 2, 2)
    with pytest.raises(CorpusError, match="no split 'dev'"):
        checked("hub", name=str(root), splits={"dev": "valid"})
    with pytest.raises(CorpusError, match="which split is 'train'"):
        checked("hub", name=str(root), splits={"train": "fit"})


def test_a_folder_of_audio_files_is_another_corpus(tmp_path):
    sounds(tmp_path / "clips", "train/dog/a.wav", "train/cat/b.wav")
    with pytest.raises(CorpusError, match="for a folder of sounds there is 'folder'"):
        checked("hub", name=str(tmp_path / "clips"))


def test_traps_of_the_hub(tmp_path):
    root = parquet(tmp_path, "train", 3)
    with pytest.raises(CorpusError, match="no column 'adio'; did you mean 'audio'"):
        checked("hub", name=str(root), audio="adio")
    with pytest.raises(CorpusError, match=r"none: datasets cannot load it \(.*\); see its name and config"):
        checked("hub", name=str(tmp_path / "none"))
    assert made("hub", name="x", disjoint="speaker").disjoint == "speaker"
    root = parquet(tmp_path / "b", "train", 3, empty=True)
    with pytest.raises(CorpusError, match="train/0000000: the audio cell is empty"):
        checked("hub", name=str(root))
