"""What every reader of an official layout owes: a missing or foreign root is answered with where to get the corpus."""

from pathlib import Path

import pytest
from _layouts import made, sounds

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
