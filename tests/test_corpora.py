"""Corpora: rows with the right labels and splits from tables and folders, or a refusal that names the place."""

import csv
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pegbox import corpora, registry
from pegbox import rows as rows_
from pegbox.corpora.manifest import Manifest
from pegbox.errors import CorpusError, RecipeError
from pegbox.rows import Row

REAL = Path(__file__).parents[2] / "shared" / "data" / "real"
SPLITS = ("train", "valid", "test")


def spec(name: str, /, **options: object) -> str:
    return str(registry.Call(name, tuple(options.items())))


def rows_of(name: str, **options: object) -> list[Row]:
    return corpora.build(spec(name, **options)).rows()


def sizes(rows: list[Row]) -> tuple[int, ...]:
    counted = Counter(row.split for row in rows)
    assert {*counted} <= {*SPLITS}
    return tuple(counted[split] for split in SPLITS)


def touch(root: Path, *names: str) -> Path:
    """Makes empty files: a corpus opens no audio."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def table(path: Path, text: str, encoding: str = "utf-8") -> str:
    path.write_text(text, encoding=encoding)
    return str(path)


# --- manifest -----------------------------------------------------------------------------------------------------


LINES = [
    {"path": "a.wav", "split": "train", "word": "yes", "speaker": "s1", "fold": "1"},
    {"path": "b.wav", "split": "dev", "word": "no, never", "speaker": "s2", "fold": "2"},
    {"path": "c.wav", "split": "TESTING", "word": "ja", "speaker": "s3", "fold": ""},
]


def as_csv(folder: Path, lines: list[dict[str, str]], name: str = "m.csv", encoding: str = "utf-8") -> str:
    with (folder / name).open("w", encoding=encoding, newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)
    return str(folder / name)


def as_jsonl(folder: Path, lines: list[dict[str, object]]) -> str:
    return table(folder / "m.jsonl", "".join(json.dumps(line) + "\n" for line in lines))


@pytest.mark.parametrize("made", [as_csv, as_jsonl])
def test_a_table_gives_rows(made, tmp_path):
    found = rows_of("manifest", path=made(tmp_path, LINES))
    assert found == [
        Row("a.wav", str(tmp_path / "a.wav"), {"word": "yes", "speaker": "s1"}, "train", 1),
        Row("b.wav", str(tmp_path / "b.wav"), {"word": "no, never", "speaker": "s2"}, "valid", 2),
        Row("c.wav", str(tmp_path / "c.wav"), {"word": "ja", "speaker": "s3"}, "test", None),
    ]


@pytest.mark.parametrize(
    ("word", "split"),
    [
        ("train", "train"),
        ("Training", "train"),
        ("valid", "valid"),
        ("validation", "valid"),
        ("DEV", "valid"),
        ("test", "test"),
        ("testing", "test"),
        ("eval", "test"),
    ],
)
def test_words_for_splits(word, split, tmp_path):
    path = table(tmp_path / "m.csv", f"path,split\na,{word}\nb,dev\n")
    assert {row.id: row.split for row in rows_of("manifest", path=path)}["a"] == split


def test_an_unknown_split_is_refused_with_its_line(tmp_path):
    path = table(tmp_path / "m.csv", "path,split\na,train\nb,tset\n")
    with pytest.raises(CorpusError, match=r"m\.csv: line 3: unknown split 'tset'; did you mean 'test'"):
        rows_of("manifest", path=path)


def test_rows_without_split_among_rows_with_one_are_refused(tmp_path):
    path = table(tmp_path / "m.csv", "path,split\na,train\nb,\nc,test\n")
    with pytest.raises(CorpusError, match="1 of 3 rows name no split"):
        rows_of("manifest", path=path)


def test_columns_have_other_names_and_audio_another_root(tmp_path):
    path = table(
        tmp_path / "m.csv", "file,name,part,from,to,k,path\nx.wav,n1,train,0.5,1.5,3,p\nx.wav,n2,dev,2,3,4,q\n"
    )
    names = {"audio": "file", "id": "name", "split": "part", "start": "from", "end": "to", "fold": "k"}
    one, two = rows_of("manifest", path=path, root="elsewhere", **names)
    assert one == Row("n1", str(Path("elsewhere/x.wav")), {"name": "n1", "path": "p"}, "train", 3, 0.5, 1.5)
    assert (two.id, two.start, two.end) == ("n2", 2.0, 3.0)


def test_parts_of_one_file_have_their_own_ids(tmp_path):
    path = table(tmp_path / "m.csv", "path,start,end,split\na.wav,0,1.5,train\na.wav,1.5,2,dev\n")
    assert [row.id for row in rows_of("manifest", path=path)] == ["a.wav:0-1.5", "a.wav:1.5-2"]
    lines = ["0,12345.671", "12345.671,12345.674", "12345.674,12345.676", "12345.676,", "12345.677,"]
    path = table(tmp_path / "m.csv", "path,start,end\n" + "".join(f"a.wav,{line}\n" for line in lines))
    assert len({row.id for row in rows_of("manifest", path=path)}) == 5


def test_an_absolute_path_stays(tmp_path):
    path = table(tmp_path / "m.csv", f"path,split\n{tmp_path}/x/a.wav,train\nb.wav,dev\n")
    assert str(tmp_path / "x" / "a.wav") in [row.audio for row in rows_of("manifest", path=path)]


def test_a_filter_keeps_rows_whose_columns_agree(tmp_path):
    path = as_csv(tmp_path, LINES)
    assert [row.id for row in rows_of("manifest", path=path, filter={"word": "ja"})] == ["c.wav"]
    assert [row.id for row in rows_of("manifest", path=path, filter={"split": "train", "fold": "1"})] == ["a.wav"]
    with pytest.raises(CorpusError, match=r"m\.csv: the filter \{'word': 'nein'\} leaves none of 3 rows"):
        rows_of("manifest", path=path, filter={"word": "nein"})
    with pytest.raises(CorpusError, match=r"no column 'wrod'; did you mean 'word'\?"):
        rows_of("manifest", path=path, filter={"wrod": "ja"})


def test_a_missing_column_answers_with_the_nearest(tmp_path):
    path = table(tmp_path / "m.csv", "paths,split\na,train\n")
    with pytest.raises(CorpusError, match=r"no column 'path'; did you mean 'paths'\?"):
        rows_of("manifest", path=path)
    with pytest.raises(CorpusError, match="no column 'name'; known: paths, split"):
        rows_of("manifest", path=path, audio="paths", id="name")


@pytest.mark.parametrize("option", ["id", "split", "fold", "start", "end", "disjoint", "stratify"])
def test_a_column_that_is_asked_for_and_not_there_is_refused(option, tmp_path):
    path = table(tmp_path / "m.csv", "path,split\na,train\nb,dev\n")
    with pytest.raises(CorpusError, match=r"no column 'splitt'; did you mean 'split'\?"):
        rows_of("manifest", path=path, **{option: "splitt"})


def test_a_byte_order_mark_and_blank_lines_are_no_content(tmp_path):
    assert rows_of("manifest", path=as_csv(tmp_path, LINES, encoding="utf-8-sig"))[0].id == "a.wav"
    path = table(tmp_path / "blank.csv", "path,split\r\na,train\r\n\r\nb,dev\r\n\r\n")
    assert [row.id for row in rows_of("manifest", path=path)] == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the manifest is empty"),
        ("path,split\n", "the manifest is empty"),
        ("path,word\na,x\nb,x,y\n", r"line 3 has 3 cells, the header has 2; quote cells"),
        ("path,word\na\n", r"line 2 has 1 cells"),
        ('path,word\na,"x\n', r"line 2: unexpected end of data"),
        ("path,word\n,x\n", r"line 2: the column 'path' is empty"),
        ("path,word,word\na,x,y\n", r"columns of one name: \['word'\]"),
        ("path,fold\na,one\n", r"line 2: 'fold' is not a number: 'one'"),
        ("path,fold\na,1.5\n", r"line 2: 'fold' is not a whole number: 1.5"),
        ("path,fold\na,nan\n", r"line 2: 'fold' is not a number: 'nan'"),
        ("path,start\na,inf\n", r"line 2: 'start' is not a number: 'inf'"),
        ("path,end\na,1s\n", r"line 2: 'end' is not a number: '1s'"),
    ],
)
def test_a_damaged_csv_is_refused_with_its_place(text, message, tmp_path):
    path = table(tmp_path / "m.csv", text)
    with pytest.raises(CorpusError, match=message) as caught:
        rows_of("manifest", path=path)
    assert path in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the manifest is empty"),
        ('{"path": "a"}\n{"path": \n', "line 2: not JSON"),
        ('{"path": "a"}\n\n["b"]\n', "line 3: expected an object"),
        ("[" * 100_000 + "\n", "line 1: not JSON"),
        ('{"path": "a"}\n{"word": "x"}\n', "line 2: the column 'path' is empty"),
        ('{"path": "a"}\n{"path": null}\n', "line 2: the column 'path' is empty"),
    ],
)
def test_damaged_jsonl_is_refused_with_its_place(text, message, tmp_path):
    with pytest.raises(CorpusError, match=message):
        rows_of("manifest", path=table(tmp_path / "m.jsonl", text))


def test_an_id_that_some_rows_lack_is_refused(tmp_path):
    path = table(tmp_path / "m.jsonl", '{"path": "a", "id": "1"}\n{"path": "b"}\n')
    with pytest.raises(CorpusError, match="line 2: the column 'id' is empty"):
        rows_of("manifest", path=path, id="id")


def test_numbers_in_jsonl_become_text_and_keys_may_be_missing(tmp_path):
    path = as_jsonl(tmp_path, [{"path": "a", "word": 7, "split": "train"}, {"path": "b", "who": "x", "split": "dev"}])
    assert [row.labels for row in rows_of("manifest", path=path)] == [{"word": "7"}, {"who": "x"}]
    assert [row.id for row in rows_of("manifest", path=path, filter={"who": "x"})] == ["b"]


def test_what_is_no_text_is_refused(tmp_path):
    (tmp_path / "m.csv").write_bytes(b"path\n\xff\xfe\x00")
    with pytest.raises(CorpusError, match=r"m\.csv: cannot be read as text"):
        rows_of("manifest", path=str(tmp_path / "m.csv"))
    with pytest.raises(CorpusError, match="no such manifest"):
        rows_of("manifest", path=str(tmp_path / "missing.csv"))
    with pytest.raises(CorpusError, match="cannot be read as text"):
        rows_of("manifest", path=str(tmp_path))
    with pytest.raises(CorpusError, match="cannot be read as text"):
        Manifest("a\0.csv").rows()


def test_splits_are_drawn_where_there_are_none(tmp_path):
    path = table(tmp_path / "m.csv", "path,w\n" + "".join(f"{n:03},{n % 2}\n" for n in range(200)))
    found = rows_of("manifest", path=path, valid=0.1, test=0.2, stratify="w")
    assert sizes(found) == (140, 20, 40)
    assert Counter(row.labels["w"] for row in found if row.split == "test") == {"0": 20, "1": 20}
    assert rows_of("manifest", path=path, valid=0.1, test=0.2, stratify="w") == found
    assert rows_of("manifest", path=path, valid=0.1, test=0.2, stratify="w", seed=1) != found
    assert sizes(rows_of("manifest", path=path)) == (180, 20, 0)


def test_only_the_validation_part_is_drawn_where_it_alone_is_missing(tmp_path):
    path = table(
        tmp_path / "m.csv", "path,split\n" + "".join(f"{n:02},{'test' if n < 10 else 'train'}\n" for n in range(50))
    )
    found = rows_of("manifest", path=path, valid=0.25, test=0.5)
    assert sizes(found) == (30, 10, 10)
    assert {row.id for row in found if row.split == "test"} == {f"{n:02}" for n in range(10)}


@pytest.mark.parametrize("shares", [{"valid": 0.5, "test": 0.5}, {"valid": 1.5}, {"test": 1.0}, {"valid": -0.5}])
def test_shares_that_leave_nothing_are_refused(shares, tmp_path):
    path = table(tmp_path / "m.csv", "path\n" + "".join(f"{n}\n" for n in range(10)))
    with pytest.raises(CorpusError, match=r"valid=-?[0-9.]+"):
        rows_of("manifest", path=path, **shares)


def test_disjoint_speakers_are_drawn_whole(tmp_path):
    path = table(tmp_path / "m.csv", "path,speaker\n" + "".join(f"{n:02},s{n % 7}\n" for n in range(70)))
    found = rows_of("manifest", path=path, disjoint="speaker", valid=0.2, test=0.3)
    speakers = [{row.labels["speaker"] for row in found if row.split == split} for split in SPLITS]
    assert sorted(map(len, speakers)) == [1, 2, 4]
    assert len(set.union(*speakers)) == 7


def test_a_row_without_the_label_to_draw_by_is_named(tmp_path):
    path = table(tmp_path / "m.csv", "path,speaker,w\na,x,1\nb,,2\n")
    with pytest.raises(CorpusError, match=r"b: no label 'speaker' to draw or keep splits apart by; it has \['w'\]"):
        rows_of("manifest", path=path, disjoint="speaker")


def test_given_splits_that_are_not_disjoint_are_found_by_check(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(1600), 16_000)
    soundfile.write(tmp_path / "b.wav", np.zeros(1600), 16_000)
    made = corpora.build(
        spec(
            "manifest",
            path=table(tmp_path / "m.csv", "path,speaker,split\na.wav,x,train\nb.wav,x,dev\n"),
            disjoint="speaker",
        )
    )
    with pytest.raises(CorpusError, match=r"speaker 'x' stands in \['train', 'valid'\]"):
        rows_.check(made.rows(), made.disjoint)


# --- folder -------------------------------------------------------------------------------------------------------


def test_a_folder_a_class(tmp_path):
    root = touch(
        tmp_path, *(f"{name}/{n:02}.wav" for name in ("cat", "dog") for n in range(20)), "cat/notes.txt", "x.wav"
    )
    found = rows_of("folder", root=str(root), label="animal", valid=0.1, test=0.2)
    assert sizes(found) == (28, 4, 8)
    assert found[0].id == "cat/00.wav"
    assert found[0].audio == str(root / "cat" / "00.wav")
    assert Counter((row.labels["animal"], row.split) for row in found if row.split == "test") == {
        ("cat", "test"): 4,
        ("dog", "test"): 4,
    }


def test_a_folder_a_split(tmp_path):
    names = [
        f"{split}/{name}/{n}.FLAC" for split in ("Train", "dev", "test") for name in ("cat", "dog") for n in range(3)
    ]
    found = rows_of("folder", root=str(touch(tmp_path, *names)))
    assert sizes(found) == (6, 6, 6)
    assert all(
        row.labels["class"] in row.id and row.id.lower().startswith(row.split[:2].replace("va", "de")) for row in found
    )


def test_a_missing_validation_folder_is_drawn_from_training(tmp_path):
    names = [f"{split}/{name}/{n}.ogg" for split in ("train", "test") for name in ("cat", "dog") for n in range(10)]
    found = rows_of("folder", root=str(touch(tmp_path, *names)), valid=0.2, test=0.5)
    assert sizes(found) == (16, 4, 20)


def test_folders_without_audio_are_refused(tmp_path):
    with pytest.raises(CorpusError, match="no such folder"):
        rows_of("folder", root=str(tmp_path / "missing"))
    with pytest.raises(CorpusError, match="no audio in sub-folders"):
        rows_of("folder", root=str(touch(tmp_path, "a.wav", "cat/readme.md")))


# --- Free Spoken Digit Dataset ------------------------------------------------------------------------------------


@pytest.fixture
def digits(tmp_path: Path) -> str:
    names = [f"recordings/{d}_{who}_{n}.wav" for d in range(3) for who in ("ann", "bob", "cid") for n in range(12)]
    return str(touch(tmp_path, *names))


def test_the_official_split_goes_by_takes(digits):
    found = rows_of("fsdd", root=digits)
    assert sizes(found) == (18, 45, 45)
    assert {int(row.labels["take"]) for row in found if row.split == "test"} == {*range(5)}
    assert {int(row.labels["take"]) for row in found if row.split == "valid"} == {*range(5, 10)}
    assert found[0] == Row(
        "0_ann_0", f"{digits}/recordings/0_ann_0.wav", {"word": "0", "speaker": "ann", "take": "0"}, "test"
    )
    assert sizes(rows_of("fsdd", root=f"{digits}/recordings", takes=2)) == (72, 18, 18)


def test_speakers_can_be_tested_and_validated(digits):
    found = rows_of("fsdd", root=digits, test_speakers=["bob"])
    assert sizes(found) == (42, 30, 36)
    assert {row.labels["speaker"] for row in found if row.split == "test"} == {"bob"}
    assert corpora.build(spec("fsdd", root=digits, test_speakers=["bob"])).disjoint is None
    made = corpora.build(spec("fsdd", root=digits, test_speakers=["bob"], valid_speakers=["cid"]))
    assert sizes(made.rows()) == (36, 36, 36)
    assert made.disjoint == "speaker"
    assert {(row.labels["speaker"], row.split) for row in made.rows()} == {
        ("ann", "train"),
        ("cid", "valid"),
        ("bob", "test"),
    }


def test_strange_speakers_and_names_are_refused(digits):
    with pytest.raises(CorpusError, match=r"unknown speakers \['eve'\]; speakers here: \['ann', 'bob', 'cid'\]"):
        rows_of("fsdd", root=digits, test_speakers=["eve", "bob"])
    with pytest.raises(CorpusError, match=r"\['bob'\] in two parts"):
        rows_of("fsdd", root=digits, test_speakers=["bob", "ann"], valid_speakers=["bob"])
    with pytest.raises(CorpusError, match="valid_speakers without test_speakers would leave no test part"):
        rows_of("fsdd", root=digits, valid_speakers=["bob"])
    touch(Path(digits), "recordings/hello.wav")
    with pytest.raises(CorpusError, match=r"hello\.wav: not named \{digit\}_\{speaker\}_\{take\}"):
        rows_of("fsdd", root=digits)
    with pytest.raises(CorpusError, match="no recordings"):
        rows_of("fsdd", root=str(touch(Path(digits) / "other", "x.txt")))


# --- ESC-10 and ESC-50 --------------------------------------------------------------------------------------------

EVENTS = ("dog", "rain", "siren")
CLIPS = [
    (fold, f"{fold}{number}{EVENTS.index(event)}", take, event)
    for fold in range(1, 6)
    for event in EVENTS
    for number in range(4)
    for take in "AB"
]


def tree(root: Path, others: int = 10) -> str:
    """ESC-50's release: `others` clips are of classes outside ESC-10."""
    lines = [f"{f}-{s}-{t}-0.wav,{f},0,{event},True,{s},{t}" for f, s, t, event in CLIPS]
    lines += [f"{n % 5 + 1}-9{n}-A-9.wav,{n % 5 + 1},9,hen,False,9{n},A" for n in range(others)]
    touch(root, *(f"audio/{line.split(',')[0]}" for line in lines))
    (root / "meta").mkdir()
    table(root / "meta" / "esc50.csv", "filename,fold,target,category,esc10,src_file,take\n" + "\n".join(lines) + "\n")
    return str(root)


def classes(root: Path) -> str:
    return str(touch(root, *(f"{EVENTS.index(e):03} - {e}/{f}-{s}-{t}.ogg" for f, s, t, e in CLIPS)))


def flat(root: Path, beside: bool = False) -> str:
    """A folder of files and a table of several corpora in it or beside it."""
    names = [(f"{f}-{s}-{t}.flac", event) for f, s, t, event in CLIPS]
    touch(root / "esc10", *(name for name, _ in names), "1-1-Z.flac")
    place = root if beside else root / "esc10"
    lines = [f"esc10/{name},{event},{name[0]}" for name, event in names]
    table(place / "manifest.csv", "path,event,fold\n" + "\n".join(lines) + "\nesc10/1-1-Z.flac,,\nother/9.wav,x,\n")
    return str(root / "esc10")


@pytest.mark.parametrize("layout", [tree, classes, flat, lambda root: flat(root, beside=True)])
def test_esc10_in_its_layouts(layout, tmp_path):
    root = layout(tmp_path)
    for fold in range(1, 6):
        found = rows_of("esc10", root=root, fold=fold)
        assert len(found) == 120
        assert {row.fold for row in found if row.split == "test"} == {fold}
        assert sizes(found) == (84, 12, 24)
        assert Counter(row.labels["event"] for row in found) == dict.fromkeys(EVENTS, 40)
        assert Counter(row.labels["event"] for row in found if row.split == "valid") == dict.fromkeys(EVENTS, 4)
        sources = [{row.labels["source"] for row in found if row.split == split} for split in SPLITS]
        assert sum(map(len, sources)) == len(set.union(*sources)) == 60
        assert found == sorted(found, key=lambda row: row.id)
        assert all(Path(row.audio).is_file() for row in found)


def test_a_manifest_beside_does_not_hide_folders_of_classes(tmp_path):
    table(tmp_path / "manifest.csv", "path,event\nother/9.wav,x\n")
    assert len(rows_of("esc10", root=classes(tmp_path / "esc10"))) == 120


def test_esc50_reads_the_release_with_all_classes(tmp_path):
    found = rows_of("esc50", root=tree(tmp_path / "a"), fold=2)
    assert len(found) == 130
    assert {row.labels["event"] for row in found} == {*EVENTS, "hen"}
    assert sum(row.split == "test" for row in found) == 26
    with pytest.raises(CorpusError, match=r"no meta/esc50\.csv; unpack https:"):
        rows_of("esc50", root=classes(tmp_path / "b"))


def test_esc_refuses_an_unknown_fold_and_names_it_cannot_read(tmp_path):
    with pytest.raises(CorpusError, match=r"fold 6: the corpus has folds \[1, 2, 3, 4, 5\]"):
        rows_of("esc10", root=classes(tmp_path / "a"), fold=6)
    with pytest.raises(CorpusError, match=r"bark\.wav: not named \{fold\}-\{source\}-\{take\}"):
        rows_of("esc10", root=str(touch(tmp_path / "b", "dog/bark.wav")))
    with pytest.raises(CorpusError, match="no sounds of this corpus here"):
        rows_of("esc10", root=str(touch(tmp_path / "c", "dog/readme.txt")))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("filename,fold,category\na.wav,1,dog\n", r"esc50\.csv: no column esc10, src_file in the row"),
        ("filename,fold,category,esc10,src_file\na.wav,one,dog,True,1\n", "the fold 'one' is no number"),
        ("filename,fold,category,esc10,src_file\na.wav,1\n", "no column category, esc10, src_file"),
    ],
)
@pytest.mark.parametrize("name", ["esc10", "esc50"])
def test_a_damaged_table_of_esc50_is_refused(name, text, message, tmp_path):
    (tmp_path / "meta").mkdir()
    table(tmp_path / "meta" / "esc50.csv", text)
    with pytest.raises(CorpusError, match=message):
        rows_of(name, root=str(tmp_path))


# --- all ----------------------------------------------------------------------------------------------------------


def test_every_corpus_says_how_its_splits_are_drawn(tmp_path):
    needs = {"manifest": {"path": "m.csv"}, "hub": {"name": "someone/something"}}
    for name in registry.names("corpora"):
        made = corpora.build(spec(name, **needs.get(name, {"root": str(tmp_path)})))
        assert made.disjoint is None or isinstance(made.disjoint, str)
        assert made.stratify is None or isinstance(made.stratify, str)


def test_an_unknown_corpus_answers_with_the_nearest():
    with pytest.raises(RecipeError, match="did you mean 'manifest'"):
        corpora.build('manifests(path="m.csv")')


@pytest.mark.skipif(not (REAL / "manifest.csv").is_file(), reason="no real corpora at ../shared/data/real")
def test_real_corpora():
    fsdd = rows_of("fsdd", root=str(REAL / "fsdd"), test_speakers=["lucas", "yweweler"])
    assert sizes(fsdd) == (1800, 200, 1000)
    rows_.check(fsdd)
    tested = []
    for fold in range(1, 6):
        esc = rows_of("esc10", root=str(REAL / "esc10"), fold=fold)
        rows_.check(esc, "source")
        assert sizes(esc)[2] == 80
        assert Counter(row.labels["event"] for row in esc if row.split == "test").most_common()[-1][1] == 8
        tested += [row.id for row in esc if row.split == "test"]
    assert len(tested) == len({*tested}) == 400
    speech = rows_of("manifest", path=str(REAL / "manifest.csv"), filter={"corpus": "librispeech_asr"})
    assert len(speech) == 132
    rows_.check(speech)
    assert all(row.labels["transcript"] for row in speech)
    apart = rows_of(
        "manifest", path=str(REAL / "manifest.csv"), filter={"corpus": "librispeech_asr"}, disjoint="speaker"
    )
    assert sizes(apart) == (67, 40, 25)  # only two speakers train: the smaller one is nearer to a tenth
    with pytest.raises(CorpusError, match="2 faults in 132 rows"):  # both are in the given test part too
        rows_.check(apart, "speaker")
