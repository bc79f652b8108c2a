"""What every reader of an official layout owes: a missing or foreign root is answered with where to get the corpus."""

from pathlib import Path

import pytest
from _layouts import made, sounds, text
from test_corpora_feelings import esd, iemocap, meld
from test_corpora_read import fleurs, l2arctic, libritts, ljspeech, vctk
from test_corpora_sounds import freesound, music, urban
from test_corpora_speech import libri, vox
from test_corpora_turns import kaldi, meeting, quesst, voices
from test_corpora_words import fluent, snips

from pegbox import registry
from pegbox.errors import CorpusError

OWN = {"manifest", "folder", "fsdd", "esc10", "esc50", "rttm", "hub"}
OFFICIAL = sorted(name for name in registry.names("corpora") if name not in OWN and not name.startswith("synthetic_"))
READ = [*((name, {}) for name in OFFICIAL), ("voxceleb1", {"protocol": "verify"}), ("speech_commands", {"classes": 12})]
TELLS = ("unpack ", "ask for ", "fetch ", "make ")


@pytest.mark.parametrize(("name", "options"), READ)
@pytest.mark.parametrize("there", [False, True])
def test_a_root_without_the_corpus_is_answered_with_where_to_get_it(name, options, there, tmp_path):
    root = tmp_path / "corpus"
    if there:
        sounds(root, "some/other.wav")
    with pytest.raises(CorpusError) as caught:
        made(name, root=str(root), **options).rows()
    words = str(caught.value)
    assert str(root) in words and any(each in words for each in TELLS), words


@pytest.mark.parametrize("name", OFFICIAL)
def test_the_page_of_corpora_names_every_reader_and_its_labels(name):
    page = (Path(__file__).parents[1] / "docs" / "corpora.md").read_text(encoding="utf-8")
    assert f"`{name}`" in page
    about = registry.describe("corpora", name)
    assert about.summary.endswith(".") and "root" in about.options


def listed_words(root: Path) -> str:
    for name, speaker in (("validation", 1), ("testing", 2)):
        text(root / f"{name}_list.txt", f"yes/{speaker}_nohash_0.wav")
    return str(sounds(root, *(f"yes/{speaker}_nohash_0.wav" for speaker in range(4))))


def listed_music(root: Path) -> str:
    for number, part in enumerate(("train", "valid", "test"), 50):
        text(root / "lists" / f"{part}_filtered.txt", f"pop/pop.{number:05d}.wav")
    return str(music(root))


LAYOUTS = {
    "audio_snips": [(snips, {})],
    "common_voice": [(voices, {})],
    "esd": [(esd, {"speakers": ["0011", "0012"]})],
    "fleurs": [(fleurs, {})],
    "fluent_speech_commands": [(fluent, {})],
    "fsd50k": [(freesound, {})],
    "gtzan": [(listed_music, {"filtered": "ROOT/lists"})],
    "iemocap": [(iemocap, {})],
    "l2arctic": [(l2arctic, {})],
    "librimix": [(kaldi, {}), (lambda root: kaldi(root, segments=True), {})],
    "librispeech": [(libri, {})],
    "libritts": [(libritts, {})],
    "ljspeech": [(ljspeech, {})],
    "meld": [(meld, {})],
    "quesst14": [(quesst, {})],
    "rttm": [(lambda root: str(meeting(root, "a", "b")), {"valid": 0.5, "test": 0.0})],
    "speech_commands": [(listed_words, {"split": "lists", "words": ["yes"]})],
    "urbansound8k": [(urban, {})],
    "vctk": [(lambda root: vctk(root, {"p225": 10}), {})],
    "voxceleb1": [(vox, {}), (vox, {"protocol": "verify"})],
}
SPOILT = {
    "empty": b"",
    "blank": b"\n \n",
    "bytes": bytes(range(256)),
    "a word": b"word\n",
    "tabs": b"\t\t\t\t\t\t\t\t\t\n",
    "a quote": b'a,"b\nc',
    "long": b"x " * 70_000 + b"\n",
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_spoilt_list_is_refused_or_left_out_but_breaks_nothing(name, tmp_path):
    for number, (layout, options) in enumerate(LAYOUTS[name]):
        root = layout(tmp_path / str(number))
        given = {key: f"{root}/lists" if value == "ROOT/lists" else value for key, value in options.items()}
        lists = [path for path in sorted((tmp_path / str(number)).rglob("*")) if path.is_file()]
        kinds = {(path.suffix, path.name[:4]): path for path in lists if path.suffix not in (".wav", ".flac", ".mp3")}
        for path in kinds.values():
            whole = path.read_bytes()
            for spoilt in (*SPOILT.values(), whole[: len(whole) // 2], whole.replace(b"1", b"one"), whole * 2):
                path.write_bytes(spoilt)
                try:
                    rows = made(name, root=root, **given).rows()
                except CorpusError as problem:
                    assert str(problem)
                else:
                    assert rows == sorted(rows, key=lambda row: row.id)
            path.write_bytes(whole)


def test_every_reader_has_a_layout_to_spoil():
    assert {*OFFICIAL} | {"rttm"} == {*LAYOUTS}
