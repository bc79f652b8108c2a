"""Budgets of `pegbox tune`: what a share, bytes and minutes are, and what is none."""

import re

import pytest
from typer.testing import CliRunner

from pegbox import budget, registry
from pegbox.cli import app
from pegbox.errors import RecipeError
from pegbox.methods.auto import Auto


@pytest.mark.parametrize(
    ("budgets", "spec"),
    [
        ([], "auto(budget=0.005, kilobytes=0.0)"),
        (["0.5%"], "auto(budget=0.005, kilobytes=0.0)"),
        (["0.02"], "auto(budget=0.02, kilobytes=0.0)"),
        (["0"], "auto(budget=0.0, kilobytes=0.0)"),
        (["200kB"], "auto(budget=1.0, kilobytes=200.0)"),
        (["1.5 MB"], "auto(budget=1.0, kilobytes=1500.0)"),
        (["10min"], "auto(budget=0.005, kilobytes=0.0, minutes=10.0)"),
        (["0.5h"], "auto(budget=0.005, kilobytes=0.0, minutes=30.0)"),
        (["10min", "2%"], "auto(budget=0.02, kilobytes=0.0, minutes=10.0)"),
        (["200kB", "1e-1%", "10min"], "auto(budget=0.001, kilobytes=200.0, minutes=10.0)"),
    ],
)
def test_a_budget_is_a_share_bytes_or_time(budgets: list[str], spec: str) -> None:
    assert budget.spec(budgets) == spec
    (call,) = registry.parse(spec)
    assert isinstance(registry.build("methods", call), Auto)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        *((each, "a share such as .* 200kB .* 10min") for each in ("", "much", "%", "-1%", "nan", "inf", "10 parsec")),
        *((each, "more than 0") for each in ("0kB", "0min")),
        ("1% 2%", "a share such as"),
    ],
)
def test_what_is_no_budget_is_refused(text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=f"--budget {re.escape(text)}: {message}"):
        budget.spec([text])


def test_what_is_limited_twice_is_refused() -> None:
    for said in (["1%", "2%"], ["1kB", "1MB"], ["1min", "1h"]):
        with pytest.raises(RecipeError, match=f"--budget {said[1]}: .* twice"):
            budget.spec(said)
    with pytest.raises(RecipeError, match=r"10min: .* limited twice"):
        budget.spec(["10min"], minutes=5.0)
    assert budget.spec(["1%"], kilobytes=3.0, minutes=5.0) == "auto(budget=0.01, kilobytes=3.0, minutes=5.0)"
    assert budget.spec([], kilobytes=3.0) == "auto(budget=0.005, kilobytes=3.0)"


def test_tune_takes_budgets_and_refuses_what_is_none() -> None:
    words = ["tune", "--task", 'classify(label="class")', "--corpus", 'folder(root="x")', "--budget", "10min"]
    for more, message in ((["--budget", "much"], "--budget much: a share such as"), ([], "say where the run goes")):
        refused = CliRunner().invoke(app, [*words, *more])
        assert isinstance(refused.exception, RecipeError) and message in str(refused.exception)
