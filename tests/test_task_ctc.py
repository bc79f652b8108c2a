"""CTC with phonemes, lexicons and SUPERB's heads: published sizes and symbols, the references' quirks, and learning."""

import json
from pathlib import Path

import pytest
import torch
from _learnt import few, learnt, needs_espeak, size
from _same import ends_alike_after_a_cut
from torch import nn

from pegbox import tasks
from pegbox.corpora.synthetic.sentences import Sentences
from pegbox.errors import CorpusError, RecipeError
from pegbox.tasks._augment import Augmented, augmented
from pegbox.tasks._symbols import PHONES, SUPERB_LETTERS, SUPERB_PHONES
from pegbox.training.loop import Step

PHONEMES = 'ctc(label="text", unit="phoneme")'
WIDTHS = (240, 768, 1024)


def spoken(path: list[int], outputs: int = 74) -> torch.Tensor:
    """Logits whose likeliest outputs are these, one a frame."""
    return nn.functional.one_hot(torch.tensor([path]), outputs).float()


def lexicon_of(folder: Path, *lines: str) -> str:
    (folder / "words.txt").write_text("\n".join(lines), encoding="utf-8")
    return f'ctc(label="text", unit="phoneme", lexicon=["{folder}/words.txt"])'


@pytest.mark.parametrize(
    ("spec", "outputs", "sizes"),
    [
        ('ctc(network="projected")', 74, (80_714, 215_882, 281_418)),
        ('ctc(network="recurrent")', 32, (42_288_160, 42_828_832, 43_090_976)),
    ],
)
def test_the_heads_have_superbs_sizes(spec: str, outputs: int, sizes: tuple[int, ...]) -> None:
    with torch.device("meta"):
        heads = [tasks.build(spec).head(width, tuple(map(str, range(outputs)))) for width in WIDTHS]
    assert tuple(map(size, heads)) == sizes


def test_symbols_are_those_of_superb() -> None:
    assert (len(PHONES), len(SUPERB_PHONES), len(SUPERB_LETTERS)) == (71, 74, 32)
    assert [SUPERB_PHONES[n] for n in (0, 1, 2, 38, 11, 47)] == ["<pad>", "<eos>", "<unk>", "HH", "AH0", "L"]


def test_greedy_phonemes_as_both_references_decode_them() -> None:
    logits, counts = spoken([0, 38, 38, 0, 11, 11, 11, 47, 1, 52]), torch.tensor([10])
    wanted = {"clean": "HH AH0 L <eos> OW1", "reference": "HH AH0 L OW1", "sure": "HH HH AH0 AH0 AH0 L"}
    for protocol, text in wanted.items():
        task = tasks.build(f'ctc(unit="phoneme", protocol="{protocol}")')
        assert task.decode(logits, counts, SUPERB_PHONES) == [{"said": text}]


def test_the_reference_ends_its_targets() -> None:
    task = tasks.build('ctc(label="text", protocol="reference")')
    names = task.vocabulary({"train": [{"text": "it is"}]})
    assert names == SUPERB_LETTERS and task.truth({"text": "it  is"}) == "IT IS"
    assert task._target({"text": "it is"}) == ["I", "T", "|", "I", "S", "|", "</s>"]
    path = [names.index(each) for each in ("I", "T", "|", "I", "S", "S", "<s>", "|", "</s>")]
    assert task.decode(spoken(path, 32), torch.tensor([9]), names) == [{"said": "IT IS"}]
    strange = task.loss(torch.zeros(1, 9, 32), torch.tensor([9]), [{"text": "é"}], names)
    assert strange.isfinite() and task.least_frames({"text": "é"}) == 3


def test_phonemes_are_those_of_training_and_scored_as_per() -> None:
    task = tasks.build(PHONEMES)
    names = task.vocabulary({"train": [{"text": "h ə l"}, {"text": "l oʊ"}], "test": [{"text": "ʒ"}]})
    assert names == ("<blank>", "h", "l", "oʊ", "ə") and task.metric == "per"
    assert task.score([{"true": "h ə l oʊ", "said": "h l oʊ"}, {"true": "l", "said": ""}]) == {"per": 2 / 5}
    assert task.least_frames({"text": "l l ə"}) == 4


def test_a_lexicon_says_words_by_their_first_line(tmp_path: Path) -> None:
    task = tasks.build(lexicon_of(tmp_path, "HELLO\tHH AH0 L OW1", "hello HH EH0", "", "O' OW1"))
    assert task.truth({"text": "O' hello"}) == "OW1 HH AH0 L OW1"
    assert task.vocabulary({"train": [{"text": "hello"}]}) == ("<blank>", *PHONES)
    with pytest.raises(CorpusError, match=r"lexicon lacks 2 words: \['there', 'world'\]"):
        task.vocabulary({"train": [{"text": "hello world"}], "test": [{"text": "there"}]})
    with pytest.raises(CorpusError, match=r"words\.txt: line 1: 'BARE' has no phonemes"):
        (tmp_path / "b").mkdir()
        tasks.build(lexicon_of(tmp_path / "b", "BARE")).truth({"text": "bare"})
    with pytest.raises(CorpusError, match="cannot be read as a lexicon"):
        tasks.build('ctc(label="text", unit="phoneme", lexicon=["nowhere.txt"])').truth({"text": "a"})


@pytest.mark.parametrize(
    "options",
    [
        'lexicon=["a"]',
        'protocol="sure"',
        'units=["a"], protocol="reference"',
        "hidden=8",
        'network="projected", hidden=-1',
    ],
)
def test_options_that_do_not_go_together_are_refused(options: str) -> None:
    with pytest.raises(RecipeError, match="ctc"):
        tasks.build(f"ctc({options})")


def test_recurrent_heads_ignore_what_is_beyond_a_clip() -> None:
    head = tasks.build('ctc(network="recurrent", hidden=8)').head(4, ("", "a", "b")).eval()
    x = torch.randn(2, 9, 4)
    padded, alone = head(x, torch.tensor([5, 9])), head(x[:1, :5], torch.tensor([5]))
    torch.testing.assert_close(padded[0, :5], alone[0])
    assert head(x[:, :1], torch.tensor([1, 1])).shape == (2, 1, 3)


def test_features_are_masked_in_training_alone() -> None:
    torch.manual_seed(0)
    head = tasks.build("ctc(spec_augment=True)").head(96, ("", "a"))
    assert isinstance(head, Augmented)
    x, counts = torch.ones(3, 200, 96), torch.tensor([200, 120, 1])
    kept = x.clone()
    assert not torch.equal(head(x, counts), head(x, counts)) and torch.equal(x, kept)
    assert torch.equal(head.eval()(x, counts), head.head(x, counts))
    for length, width in ((1, 3), (10, 96), (300, 96)):
        masked = augmented(torch.ones(length, width))
        dead_frames, dead_features = (masked == 0).all(1).sum(), (masked == 0).all(0).sum()
        assert masked.shape == (length, width) and masked.isfinite().all()
        assert length < 300 or (dead_frames < 2 * 40 and dead_features <= 4 * 49)


def test_texts_of_any_script_and_nothing_said_are_scored() -> None:
    task, names = tasks.build('ctc(label="text")'), ("<blank>", *" ß日本語\u0301e")
    rows = [{"text": "日本 語"}, {"text": "e\u0301 ß"}]
    assert task.loss(torch.zeros(2, 9, len(names)), torch.tensor([9, 9]), rows, names).isfinite()
    assert task.score([{"true": "日本 語", "said": ""}]) == {"wer": 1.0, "cer": 1.0}
    assert task.score([{"true": "", "said": ""}]) == {"wer": 0.0, "cer": 0.0}
    assert task.score([{"true": "", "said": "x"}])["wer"] == 1.0


@needs_espeak
def test_it_learns_phonemes(tmp_path: Path) -> None:
    corpus = few(Sentences, tmp_path / "clips", {"train": 40, "valid": 6, "test": 10})
    task = 'ctc(label="phonemes", unit="phoneme", network="projected")'
    result = learnt(task, corpus, tmp_path / "run", epochs=40, head_lr=0.005, batch_clips=8, validate_epochs=10)
    assert result["scores"]["test"]["per"] < 0.6


def test_masks_and_dropout_resume_where_they_were(hubert: Path, tones: Path, tmp_path: Path) -> None:
    clips = sorted(tones.rglob("*.flac"))  # named below their folder: names decide the order, which masks some batches
    lines = [{"path": str(path.relative_to(tones)), "text": path.parent.name[0]} for path in clips]
    (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, lines)))
    recipe = {
        "backbone": str(hubert),
        "method": "lora(rank=2)",
        "task": 'ctc(label="text", network="recurrent", hidden=8, spec_augment=True)',
        "corpus": f'manifest(path="{tmp_path}/m.jsonl", root="{tones}", test=0.2, stratify="text")',
        "train": {"epochs": 3, "batch_clips": 8, "validate_steps": 2},
    }
    ends_alike_after_a_cut(recipe, tmp_path, lambda event: isinstance(event, Step) and event.step == 5)
