"""Tasks: heads as published, losses and scores as written out, decoding, and labels that cannot be learnt."""

import json
from collections import Counter
from math import exp, log

import jiwer
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from pegbox import backbones, registry, tasks
from pegbox.delta import Delta
from pegbox.errors import CorpusError, RecipeError
from pegbox.rows import Row
from pegbox.tasks.ctc import BLANK
from pegbox.training.model import Batch, Tuned

WORD = 'classify(label="word")'


def labels(*words: str, key: str = "word") -> list[dict[str, str]]:
    return [{key: word} for word in words]


def splits(train: str, **others: str) -> dict[str, list[dict[str, str]]]:
    """Rows by split, one label a letter."""
    return {split: labels(*words) for split, words in {"train": train, **others}.items()}


def said(*pairs: tuple[str, str]) -> list[dict[str, str]]:
    return [{"id": str(n), "true": true, "said": said} for n, (true, said) in enumerate(pairs)]


def frames(*counts: int) -> torch.Tensor:
    return torch.tensor(counts)


# --- every task ---------------------------------------------------------------------------------------------------


EXAMPLES = {  # name → spec, and the labels of two clips with which every output of its is learnt
    "classify": (WORD, labels("a", "b")),
    "ctc": ('ctc(label="word")', labels("a", "b")),
    "slots": ('slots(label="word", hidden=8)', [{"word": "b", "slots": "O"}, {"word": "a", "slots": "x"}]),
    "regress": ('regress(label="word")', labels("1.5", "3")),
    "diarize": (
        'diarize(label="word", period=1.0, hidden=8)',
        labels('[["x", 0.0, 9.0], ["y", 5.0, 20.0]]', '[["x", 3.0, 24.0]]'),
    ),
    "verify": ('verify(label="word", network="pooled", size=8)', [*labels("a", "b"), *labels("a", "b")]),
    "tag": ('tag(label="word")', labels("a", "a,b")),
}
BY_MORE_THAN_WORDS = ("verify",)  # tasks that score what `said` alone does not tell


SPEAKS = ("synthesize",)  # has no head; tests of its own say what it offers


@pytest.mark.parametrize("name", [name for name in registry.names("tasks") if name not in SPEAKS])
def test_every_task_offers_what_is_promised(name):
    spec, rows = EXAMPLES[name]
    task = tasks.build(spec)
    vocabulary = task.vocabulary({"train": rows * 2, "valid": rows})
    head, counts = task.head(8, vocabulary), frames(*(20 + 4 * n for n in range(len(rows))))
    x = torch.randn(len(rows), 8) if task.pools else torch.randn(len(rows), 40, 8)
    logits = head(x) if task.pools else head(x, counts)
    loss = task.loss(logits, counts, rows, vocabulary)
    assert loss.shape == ()
    loss.backward()
    assert all(tensor.grad is not None and tensor.grad.abs().sum() > 0 for tensor in head.parameters())
    found = task.decode(logits, counts, vocabulary)
    assert all(isinstance(row["said"], str) for row in found)
    assert json.loads(json.dumps(found)) == found
    truths = [task.truth(row) for row in rows]
    own = [{"id": str(n), **row, "true": truth} for n, (row, truth) in enumerate(zip(found, truths, strict=True))]
    assert task.metric in task.score(own)
    if name not in BY_MORE_THAN_WORDS:
        perfect = task.score([{"id": truth, "said": truth, "true": truth} for truth in truths])
        assert perfect[task.metric] == {"max": 1.0, "min": 0.0}[task.better]
    assert 1 <= task.least_frames(rows[0]) <= 20


VARIANTS = [  # other heads and losses, over the same labels
    'classify(label="word", network="normed", pooling="deviation")',
    'tag(label="word", network="normed", pooling="deviation")',
    'regress(label="word", objective="ccc", pooling="deviation")',
    'ctc(label="word", network="recurrent", hidden=8, spec_augment=True)',
    'slots(label="word", network="projected", spec_augment=True)',
    'verify(label="word", size=16)',
    'verify(label="word", size=16, objective="aam", margin=0.2)',
    'verify(label="word", network="pooled", objective="ce", pooling="mean")',
    'diarize(label="word", hidden=8, speakers=3)',
]


@pytest.mark.parametrize("spec", [*(spec for spec, _ in EXAMPLES.values()), *VARIANTS])
@pytest.mark.parametrize("mixed", [False, True], ids=["fp32", "autocast"])
def test_every_task_hears_a_twentieth_of_a_second_beside_a_second(spec, mixed):
    rows = EXAMPLES[spec.partition("(")[0]][1]
    task, network = tasks.build(spec), backbones.load("tiny")
    vocabulary = task.vocabulary({"train": rows})
    model = Tuned(network, Delta(network.core, (), network.family.unused), task, vocabulary, "weighted")
    lengths = torch.tensor([800, *[16_000] * (len(rows) - 1)])
    wave = torch.randn(len(rows), 16_000) * 0.1 * (torch.arange(16_000) < lengths[:, None])
    counts = torch.tensor([network.frames(int(length)) for length in lengths])
    assert counts[0] == 2
    clips = tuple(Row(str(n), "", row) for n, row in enumerate(rows))
    with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
        logits = model.train()(Batch(clips, "wave", wave, lengths, counts))
    loss = model.task.loss(logits, counts, rows, vocabulary)
    loss.backward()
    assert loss.isfinite() and all(tensor.grad.isfinite().all() for tensor in model.head.parameters())
    assert len(model.task.decode(logits, counts, vocabulary)) == len(rows)


# --- classify -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "size"), [(240, 64_780), (768, 199_948), (1024, 265_484)])
def test_the_head_has_the_size_that_superb_gives_for_keyword_spotting(width, size):
    head = tasks.build(WORD).head(width, tuple("abcdefghijkl"))
    assert sum(tensor.numel() for tensor in head.parameters()) == size


def test_the_head_on_the_mean_is_superbs_head_on_the_frames():
    torch.manual_seed(0)
    head = tasks.build("classify(label='word', projection=6)").head(8, ("a", "b", "c")).double()
    projector, linear = (each for each in head.modules() if isinstance(each, nn.Linear))
    assert (projector.out_features, linear.in_features) == (6, 6)
    x, counts = torch.randn(3, 7, 8, dtype=torch.double), (7, 4, 1)
    for clip, count in zip(x, counts, strict=True):
        projected = projector(clip)  # SUPERB: project every frame, mean over the real ones, then classify
        pooled = sum(projected[n] for n in range(count)) / count
        assert torch.allclose(head(clip[:count].mean(0)), linear(pooled), atol=1e-12)


def test_the_loss_is_the_mean_of_minus_log_of_the_right_chance():
    logits = torch.tensor([[2.0, 0.0, -1.0], [0.5, 0.25, 0.0]])
    found = tasks.build(WORD).loss(logits, frames(1, 1), labels("c", "a"), ("a", "b", "c"))
    first = -log(exp(-1) / (exp(2) + 1 + exp(-1)))
    second = -log(exp(0.5) / (exp(0.5) + exp(0.25) + 1))
    assert float(found) == pytest.approx((first + second) / 2, rel=1e-6)


def test_decoding_gives_the_likeliest_class_and_chances_that_sum_to_one():
    logits = torch.tensor([[2.0, 0.0, -1.0], [-50.0, 30.0, 29.0]], dtype=torch.bfloat16)
    rows = tasks.build(WORD).decode(logits, frames(1, 1), ("a", "b", "c"))
    assert [row["said"] for row in rows] == ["a", "b"]
    for row in rows:
        assert list(row["probabilities"]) == ["a", "b", "c"]
        assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-12)
        assert max(row["probabilities"], key=row["probabilities"].get) == row["said"]
    assert rows[0]["probabilities"]["a"] == pytest.approx(exp(2) / (exp(2) + 1 + exp(-1)), rel=1e-6)


def test_accuracy_and_macro_f1_by_hand():
    rows = said(("a", "a"), ("a", "a"), ("a", "b"), ("b", "b"), ("b", "c"), ("d", "a"))
    # precision and recall: a 2/3 2/3, b 1/2 1/2, c 0/1 -, d - 0/1
    wanted = {"accuracy": 3 / 6, "balanced_accuracy": (2 / 3 + 1 / 2) / 3, "macro_f1": (2 / 3 + 1 / 2) / 4}
    assert tasks.build(WORD).score(rows) == pytest.approx(wanted | {"weighted_f1": (3 * 2 / 3 + 2 * 1 / 2) / 6})


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=1, max_size=30))
def test_scores_agree_with_their_definition(pairs):
    found = tasks.build(WORD).score(said(*pairs))
    assert found["accuracy"] == pytest.approx(sum(true == each for true, each in pairs) / len(pairs))
    both, true, each = (
        Counter(t for t, s in pairs if t == s),
        Counter(t for t, _ in pairs),
        Counter(s for _, s in pairs),
    )
    names = {*true, *each}
    assert found["macro_f1"] == pytest.approx(sum(2 * both[n] / (true[n] + each[n]) for n in names) / len(names))


def test_classes_are_those_of_training_sorted():
    assert tasks.build(WORD).vocabulary(splits("cab", valid="a", test="bb")) == ("a", "b", "c")


def test_a_class_that_only_test_has_is_refused():
    with pytest.raises(CorpusError, match=r"'test' has 2 values of 'word' that training lacks: \['x', 'y'\]"):
        tasks.build(WORD).vocabulary(splits("ab", valid="a", test="axyx"))


@pytest.mark.parametrize("train", ["", "aaa"])
def test_one_class_or_none_is_refused(train):
    with pytest.raises(CorpusError, match=rf"has {len({*train})} class of 'word'; at least 2"):
        tasks.build(WORD).vocabulary(splits(train))


@pytest.mark.parametrize("spec", ['classify(label="wrd")', 'ctc(label="wrd")'])
def test_a_missing_label_column_answers_with_the_nearest(spec):
    with pytest.raises(CorpusError, match=r"rows of 'train' have no label 'wrd'; did you mean 'word'\?"):
        tasks.build(spec).vocabulary(splits("ab"))


@pytest.mark.parametrize("spec", [WORD, 'ctc(label="word")'])
def test_rows_without_label_are_counted(spec):
    task = tasks.build(spec)
    with pytest.raises(CorpusError, match="1 of 3 rows of 'train' have no label 'word'"):
        task.vocabulary({"train": [*labels("a", "b"), {"other": "x"}]})
    with pytest.raises(CorpusError, match="2 of 3 rows of 'valid' have an empty label 'word'"):
        task.vocabulary({"train": labels("a", "b"), "valid": labels("a", "", " ")})


@pytest.mark.parametrize("spec", [WORD, 'ctc(label="word")'])
@pytest.mark.parametrize("row", [{"wrd": "a"}, {"word": ""}, {"word": " "}])
def test_no_truth_is_refused(spec, row):
    with pytest.raises(CorpusError, match=r"a row has no label 'word', or an empty one; did you mean 'wo?rd'"):
        tasks.build(spec).truth(row)


def test_options_of_classify_are_checked():
    with pytest.raises(RecipeError, match=r"projection=0\): a width of at least 1"):
        tasks.build("classify(label='word', projection=0)")
    with pytest.raises(RecipeError, match="classify needs label"):
        tasks.build("classify")


# --- ctc ----------------------------------------------------------------------------------------------------------

TEXT = 'ctc(label="word")'
UNITS = 'ctc(label="word", units=["HH", "AH", "L"])'


def logits_of(*paths: str, vocabulary: str = "-ab ") -> torch.Tensor:
    """Logits whose likeliest units are these letters, a letter a frame."""
    longest = max(map(len, paths))
    index = [[vocabulary.index(letter) for letter in path.ljust(longest, "a")] for path in paths]
    return nn.functional.one_hot(torch.tensor(index), len(vocabulary)).float() * 5


def test_units_are_the_characters_of_training_after_the_blank():
    found = tasks.build(TEXT).vocabulary({"train": labels("ba  b\n", "Ä"), "test": labels("xyz")})
    assert found == (BLANK, " ", "a", "b", "Ä")


@pytest.mark.parametrize(
    ("spec", "text", "least"),
    [(TEXT, "A", 1), (TEXT, "AB", 2), (TEXT, "AA", 3), (TEXT, "AA BB", 7), (TEXT, " A ", 1), (UNITS, "L L AH", 4)],
)
def test_least_frames(spec, text, least):
    task = tasks.build(spec)
    assert task.least_frames(labels(text)[0]) == least


@pytest.mark.parametrize(("text", "count"), [("AA", 3), ("AB", 2), ("ABBA", 5)])
def test_with_least_frames_the_loss_is_finite_and_with_one_less_it_is_not(text, count):
    task, names = tasks.build(TEXT), (BLANK, "A", "B")
    assert task.least_frames(labels(text)[0]) == count
    for given_frames, finite in ((count, True), (count - 1, False)):
        loss = task.loss(torch.zeros(1, 9, 3), frames(given_frames), labels(text), names)
        assert bool(loss.isfinite()) is finite


def test_the_loss_by_counting_paths():
    # "ab" in 3 frames: aab abb a-b -ab ab-; "a" in 2 frames: aa -a a-. All frames and units are equally likely.
    names = (BLANK, "a", "b")
    found = tasks.build(TEXT).loss(torch.zeros(2, 3, 3), frames(3, 2), labels("ab", "a"), names)
    assert float(found) == pytest.approx((-log(5 / 27) / 2 + -log(3 / 9)) / 2, rel=1e-5)


def test_the_loss_is_torchs_and_has_the_right_gradient():
    torch.manual_seed(0)
    names, words = (BLANK, "a", "b", "c"), ["abc", "cc", "a"]
    logits, counts = torch.randn(3, 8, 4, dtype=torch.double, requires_grad=True), frames(8, 5, 3)
    found = tasks.build(TEXT).loss(logits, counts, labels(*words), names)
    padded = torch.tensor([[1, 2, 3], [3, 3, 0], [1, 0, 0]])
    lengths = torch.tensor([3, 2, 1])
    chances = logits.log_softmax(-1).transpose(0, 1)
    each = nn.functional.ctc_loss(chances, padded, counts, lengths, blank=0, reduction="none")
    wanted = (each / lengths).mean()
    assert float(found.detach()) == pytest.approx(float(wanted.detach()), rel=1e-5)
    (gradient,) = torch.autograd.grad(found, logits)
    (other,) = torch.autograd.grad(wanted, logits)
    assert torch.allclose(gradient, other, atol=1e-5)
    assert gradient[1, :5].abs().min() > 0
    assert not gradient[1, 5:].any()  # beyond a clip's frames there is nothing to learn


def test_letters_that_training_lacks_are_left_out_of_the_loss():
    task, names, logits = tasks.build(TEXT), (BLANK, "a", "b"), torch.randn(1, 6, 3)
    strange = task.loss(logits, frames(6), labels("axb"), names)
    assert torch.equal(strange, task.loss(logits, frames(6), labels("ab"), names))


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("aab", "ab"),
        ("a-a", "aa"),
        ("--a-", "a"),
        ("----", ""),
        ("a- -b", "a b"),
        (" a  - b ", "a b"),
        ("abba", "aba"),
        ("ab-ba", "abba"),
    ],
)
def test_greedy_decoding_drops_repeats_then_blanks(path, text):
    found = tasks.build(TEXT).decode(logits_of(path), frames(len(path)), (BLANK, "a", "b", " "))
    assert found == [{"said": text}]


def test_frames_beyond_a_clip_say_nothing():
    found = tasks.build(TEXT).decode(logits_of("abab", "b"), frames(4, 1), (BLANK, "a", "b", " "))
    assert [row["said"] for row in found] == ["abab", "b"]


def test_given_units_stand_between_spaces():
    task = tasks.build(UNITS)
    names = task.vocabulary({"train": labels("HH AH L"), "test": labels("L  AH")})
    assert names == (BLANK, "HH", "AH", "L")
    found = task.decode(logits_of("-hh-l-ll", vocabulary="-hal"), frames(8), names)
    assert found == [{"said": "HH L L"}]
    assert task.truth({"word": " L  AH\n"}) == "L AH"
    assert task.score(said(("HH AH L L", "HH L L"))) == {"wer": 0.25}


def test_units_that_are_not_given_are_refused_in_any_split():
    with pytest.raises(CorpusError, match=r"'word' holds 2 units that are not given: \['B', 'X'\]"):
        tasks.build(UNITS).vocabulary({"train": labels("HH X"), "test": labels("B")})


def test_error_rates_by_hand():
    rows = said(("the cat sat", "the cat sat"), ("on the mat", "on mat"), ("a dog", "a big dog"), ("yes", "no"))
    counted = jiwer.process_words([row["true"] for row in rows], [row["said"] for row in rows])
    assert (counted.deletions, counted.insertions, counted.substitutions, counted.hits) == (1, 1, 1, 7)
    found = tasks.build(TEXT).score(rows)
    assert found["wer"] == pytest.approx(3 / 9)
    assert found["cer"] == pytest.approx((4 + 4 + 3) / (11 + 10 + 5 + 3))  # "the ", "big ", y-e-s → n-o


def test_error_rates_are_over_the_whole_set_and_can_exceed_one():
    rows = said(("a b c d e f g h i", "a b c d e f g h i"), ("x", "y z"))
    assert tasks.build(TEXT).score(rows)["wer"] == pytest.approx(2 / 10)
    assert tasks.build(TEXT).score(said(("x", "y z w")))["wer"] == 3.0
    assert tasks.build(TEXT).score(said(("x", ""))) == {"wer": 1.0, "cer": 1.0}


def test_the_best_step_is_chosen_by_either_rate():
    assert [tasks.build(f"ctc{options}").metric for options in ("", '(select="cer")')] == ["wer", "cer"]
    assert tasks.build('ctc(select="cer")').better == "min"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ('ctc(units=["a"], select="cer")', "given units have no characters"),
        ('ctc(units=["a", "a"])', "every unit once"),
        ('ctc(units=["<blank>"])', "every unit once"),
        ('ctc(select="per")', "expected 'wer' or 'cer', found 'per'"),
        ("ctc(units='abc')", "expected a list, found 'abc'"),
    ],
)
def test_options_of_ctc_are_checked(spec, message):
    with pytest.raises(RecipeError, match=message):
        tasks.build(spec)
