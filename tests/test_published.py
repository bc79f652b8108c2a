"""Published numbers: every file reads, nothing is said without its source, and spot values are those of the source."""

import math
from pathlib import Path

import pytest

from pegbox.bench import published
from pegbox.bench.published import CERTAINTIES, Number
from pegbox.errors import PegboxError

NUMBERS = published.read()
HUBERT, SPEECH_BASE = "hubert-base-ls960", "wavlm-base-plus"


def find(suite: str, backbone: str, method: str, task: str, metric: str, table: str = "") -> Number:
    (found,) = (
        each
        for each in NUMBERS
        if (each.suite, each.backbone, each.task, each.metric) == (suite, backbone, task, metric)
        and each.method.startswith(method)
        and each.table.startswith(table)
    )
    return found


def test_every_number_has_a_source_and_a_finite_value() -> None:
    assert {each.source for each in NUMBERS} >= {"SUPERB leaderboard", "AD-TUNING", "SURE benchmark", "PETL-AST"}
    for each in NUMBERS:
        assert each.source and each.reference and each.table and each.suite and each.backbone and each.method
        assert math.isfinite(each.value) and each.certainty in CERTAINTIES and each.unit in ("", "%", "s", "G", "dB")
        assert each.deviation is None or each.deviation > 0


def test_the_whole_leaderboard_is_there() -> None:
    rows = {each.backbone for each in NUMBERS if each.table.startswith("Leaderboard rows")}
    assert len(rows) == 20
    whole = [each for each in NUMBERS if each.table.startswith("Leaderboard rows") and each.backbone == "wavlm-large"]
    assert len(whole) == 18


@pytest.mark.parametrize(
    ("suite", "backbone", "method", "task", "metric", "table", "value"),
    [
        ("superb", HUBERT, "weighted_sum", "pr", "per", "Leaderboard", 5.41),
        ("superb", "wavlm-large", "weighted_sum", "sid", "accuracy", "Leaderboard", 95.49),
        ("superb", "fbank", "weighted_sum", "sf", "slot_value_cer", "Leaderboard", 52.94),
        ("superb", "wavlm-large", "weighted_sum", "sd", "der", "Baselines", 3.47),
        ("efficient_tuning", HUBERT, "bitfit", "ks", "accuracy", "", 97.33),
        ("efficient_tuning", HUBERT, "chapter", "sid", "accuracy", "", 91.56),
        ("efficient_tuning", SPEECH_BASE, "e_adapter + l", "asv", "eer", "", 2.63),
        ("sure", "wav2vec2-large-xlsr-53-english", "full", "sf", "slot_type_f1", "", 0.9389),
        ("petl_ast", "ast-finetuned-audioset", "conformer_adapter, Pfeiffer", "fsc", "accuracy", "Table 1", 95.48),
        ("ipet", "ast-imagenet", "full", "gsc35", "accuracy", "", 98.13),
        ("glue", "not stated", "child", "rte", "score", "", 70.87),
    ],
)
def test_spot_values(suite: str, backbone: str, method: str, task: str, metric: str, table: str, value: float) -> None:
    assert find(suite, backbone, method, task, metric, table).value == value


def test_known_defects_are_marked() -> None:
    heads_only = [each for each in NUMBERS if each.suite == "sure" and "head" in each.defect]
    assert {each.method.partition(",")[0] for each in heads_only} >= {"lora", "prefix", "bottleneck"}
    assert all(each.task in ("asr", "asr_fleurs", "pr") for each in heads_only)
    assert "no gradient" in find("efficient_tuning", HUBERT, "lora", "ks", "accuracy").defect
    assert not find("efficient_tuning", HUBERT, "bitfit", "ks", "accuracy").defect
    assert find("efficient_tuning", SPEECH_BASE, "full", "asr", "wer").deviation == 0.08


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("values = [1.0]", "values = [1.0, 2.0]"), "1 values"),
        (('certainty = "reported"', 'certainty = "sure"'), "a certainty among"),
        (('backbone = "b"', 'spine = "b"'), "its keys"),
        (('reference = "r"', ""), "source, reference and tables"),
        (('unit = ""', 'units = ""'), "columns of task"),
    ],
)
def test_a_file_that_is_wrong_is_refused(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    text = """source = "s"
reference = "r"
[[tables]]
name = "t"
suite = "u"
certainty = "reported"
backbone = "b"
columns = [{ task = "ks", metric = "accuracy", unit = "" }]
rows = [{ method = "lora", values = [1.0] }]
"""
    path = tmp_path / "one.toml"
    path.write_text(text)
    assert published.read_file(path)[0].value == 1.0
    path.write_text(text.replace(*change))
    with pytest.raises(PegboxError, match=said):
        published.read_file(path)
