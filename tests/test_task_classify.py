"""Classification: published head sizes, pooling as written out, several columns, and intents that it learns."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from _learnt import few, learnt, needs_espeak, size
from torch import nn
from transformers import ASTConfig, ASTFeatureExtractor, ASTModel

import pegbox
from pegbox import tasks
from pegbox.backbones import outline
from pegbox.corpora.synthetic.intents import Intents
from pegbox.delta import Delta
from pegbox.errors import CorpusError, RecipeError
from pegbox.rows import Row
from pegbox.run import open_model
from pegbox.tasks._heads import statistics
from pegbox.training.model import Batch, Tuned

INTENT = 'classify(label=["action", "object", "location"])'


def intents(*rows: str) -> list[dict[str, str]]:
    return [dict(zip(("action", "object", "location"), row.split(), strict=True)) for row in rows]


ROWS = intents("on light kitchen", "off light none", "on music none", "off music kitchen")


@pytest.mark.parametrize(
    ("width", "classes", "numbers"),
    [
        *((240, 24, 67_864), (768, 24, 203_032), (1024, 24, 268_568)),  # intents
        *((240, 1251, 383_203), (768, 1251, 518_371), (1024, 1251, 583_907)),  # speakers
        *((240, 4, 62_724), (768, 4, 197_892), (1024, 4, 263_428)),  # emotions
    ],
)
def test_the_head_has_superbs_size(width: int, classes: int, numbers: int) -> None:
    assert size(tasks.build('classify(label="x")').head(width, tuple(map(str, range(classes))))) == numbers


@pytest.mark.parametrize(
    ("pooling", "classes", "numbers"),
    [("tokens", 50, 39_986), ("tokens", 200, 155_336), ("deviation", 50, 79_922), ("deviation", 35, 56_867)],
)
def test_the_normed_head_has_the_size_that_ipet_gives(pooling: str, classes: int, numbers: int) -> None:
    task = tasks.build(f'classify(label="x", network="normed", pooling="{pooling}")')
    assert size(task.head(768, tuple(map(str, range(classes))))) == numbers


def test_mean_and_unbiased_deviation_of_the_real_frames() -> None:
    x, counts = torch.randn(3, 9, 4, dtype=torch.double), torch.tensor([9, 5, 1])
    found = statistics(x, counts)
    for row, clip, count in zip(found, x, counts.tolist(), strict=True):
        assert torch.allclose(row[:4], clip[:count].mean(0))
        wanted = clip[:count].std(0) if count > 1 else torch.full((4,), 1e-5, dtype=torch.double)
        assert torch.allclose(row[4:], wanted)


def test_one_frame_and_silence_have_finite_gradients() -> None:
    for x in (torch.randn(1, 1, 4), torch.zeros(1, 7, 4)):
        x.requires_grad_()
        statistics(x, torch.tensor([x.shape[1]])).sum().backward()
        assert x.grad is not None and x.grad.isfinite().all()


def test_tokens_are_the_first_two_and_need_a_network_that_has_them() -> None:
    task = tasks.build('classify(label="x", pooling="tokens", network="normed")')
    head = task.head(4, ("a", "b"))
    x = torch.randn(2, 6, 4)
    assert torch.equal(head(x, torch.tensor([6, 6])), head.inner((x[:, 0] + x[:, 1]) / 2))
    network = outline("tiny")
    with pytest.raises(RecipeError, match="has frames, no tokens"), torch.device("meta"):
        Tuned(network, Delta(network.core, (), network.family.unused), task, ("a", "b"), "last")


def test_each_column_has_its_own_classes_and_loss() -> None:
    task = tasks.build(INTENT)
    names = task.vocabulary({"train": ROWS, "test": ROWS[:1]})
    assert names[:3] == ("action=off", "action=on", "object=light") and len(names) == 6
    logits = torch.randn(2, 6)
    wanted = [[1, 0], [0, 0], [0, 1]]  # classes of the first two rows, column by column
    each = [nn.functional.cross_entropy(logits[:, 2 * n : 2 * n + 2], torch.tensor(w)) for n, w in enumerate(wanted)]
    assert torch.allclose(task.loss(logits, torch.ones(2), ROWS[:2], names), sum(each))


def test_the_joint_class_is_said_and_all_columns_must_be_right() -> None:
    task = tasks.build(INTENT)
    names = task.vocabulary({"train": ROWS})
    (row,) = task.decode(torch.tensor([[0.0, 9, 9, 0, 0, 9]]), torch.ones(1), names)
    assert row["said"] == "on|light|none" and list(row["probabilities"]) == list(names)
    assert sum(row["probabilities"].values()) == pytest.approx(3)
    truths = [task.truth(each) for each in ROWS]
    said = ["on|light|kitchen", "off|light|kitchen", "off|music|none", "off|music|kitchen"]
    found = task.score([{"true": t, "said": s} for t, s in zip(truths, said, strict=True)])
    wanted = {"accuracy": 0.5, "accuracy_action": 0.75, "accuracy_object": 1.0, "accuracy_location": 0.75}
    assert {name: found[name] for name in wanted} == wanted


def test_weighted_and_macro_f1_as_sure_gives_them() -> None:
    rows = [{"true": t, "said": s} for t, s in zip("000112", "001122", strict=True)]
    found = tasks.build('classify(label="x")').score(rows)
    assert (found["weighted_f1"], found["macro_f1"]) == (
        pytest.approx(0.6778, abs=5e-5),
        pytest.approx(0.6556, abs=5e-5),
    )


def test_what_cannot_be_several_columns_is_refused() -> None:
    with pytest.raises(CorpusError, match=r"'test' has 1 values of 'object' that training lacks: \['door'\]"):
        tasks.build(INTENT).vocabulary({"train": ROWS, "test": intents("on door none")})
    with pytest.raises(CorpusError, match=r"\['a\|b'\] have a '\|'"):
        tasks.build(INTENT).vocabulary({"train": [*ROWS, *intents("on a|b none")]})
    for wrong in ("[]", '["a", "a"]', '["a=b", "c"]'):
        with pytest.raises(RecipeError, match="column"):
            tasks.build(f"classify(label={wrong})")


@needs_espeak
def test_it_learns_intents(tmp_path: Path) -> None:
    corpus = few(Intents, tmp_path / "clips", {"train": 66, "valid": 22, "test": 22})
    result = learnt(INTENT, corpus, tmp_path / "run", epochs=40, head_lr=0.003)
    scores = result["scores"]["test"]
    assert scores["accuracy"] > 0.15  # 22 intents: chance is 0.045
    assert scores["accuracy"] <= min(scores[f"accuracy_{name}"] for name in ("action", "object", "location"))


def test_mean_and_deviation_learn_tones(tones: Path, tmp_path: Path) -> None:
    task = 'classify(label="class", pooling="deviation", network="normed")'
    result = learnt(task, f'folder(root="{tones}", valid=0.2, test=0.2)', tmp_path / "run", epochs=6, head_lr=0.01)
    assert result["scores"]["test"]["accuracy"] > 0.6 and result["cache"].startswith("states")


@pytest.mark.filterwarnings("ignore:At least one mel filter")
def test_asts_tokens_are_the_librarys_pooled_output_and_long_clips_are_heard_in_parts(tmp_path: Path) -> None:
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    network = ASTModel(ASTConfig(**sizes, max_length=64, num_mel_bins=128)).eval()
    network.save_pretrained(tmp_path / "ast")
    extractor = ASTFeatureExtractor(max_length=64)
    extractor.save_pretrained(tmp_path / "ast")
    draw, clips = np.random.default_rng(0), tmp_path / "clips"
    for name, pitch in (("low", 300), ("high", 3000)):
        (clips / name).mkdir(parents=True)
        for number in range(8):
            tone = np.sin(2 * np.pi * pitch * np.arange(8_000 + 4_000 * number) / 16_000)
            soundfile.write(clips / name / f"{number}.wav", tone * 0.3 + 0.01 * draw.standard_normal(len(tone)), 16_000)
    recipe = {
        "backbone": str(tmp_path / "ast"),
        "method": "linear_probe",
        "task": 'classify(label="class", network="normed", pooling="tokens", segment=0.6)',
        "corpus": f'folder(root="{clips}", valid=0.2, test=0.2)',
        "train": {"epochs": 4, "head_lr": 0.02},
    }
    result = pegbox.train(recipe, tmp_path / "run")
    assert sum(result["clips"].values()) == 2 * (1 + 2 + 2 + 3 + 3 + 3 + 4 + 4)
    model, wave = open_model(pegbox.load(tmp_path / "run")), draw.standard_normal(6_000).astype(np.float32)
    row = Row("a", "", {}, "test")
    batch = Batch((row,), "wave", torch.from_numpy(wave)[None], torch.tensor([6_000]), torch.tensor([1]))
    with torch.no_grad():
        given = extractor(wave, sampling_rate=16_000, return_tensors="pt").input_values
        wanted = model.head.inner(network(given).pooler_output)
        torch.testing.assert_close(model(batch), wanted, atol=1e-3, rtol=1e-3)
