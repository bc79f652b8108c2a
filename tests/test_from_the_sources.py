"""Every command of docs/from_the_sources.md means something: it is parsed, and on miniature corpora it passes check."""

import re
import shlex
from pathlib import Path

import _sources
import pytest
import typer
from _made import save_ast
from transformers import HubertConfig
from typer.testing import CliRunner

from pegbox import methods, registry
from pegbox.bench.superb import superb_score
from pegbox.cli import app
from pegbox.training.plans import parts

PAGE = (Path(__file__).parents[1] / "docs" / "from_the_sources.md").read_text(encoding="utf-8")
BLOCKS = [
    code for language, code in re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE) if not language
]
COMMANDS = [line for block in BLOCKS for line in block.replace("\\\n", " ").splitlines() if line.strip()]
SPECS = sorted({spec for spec in re.findall(r"`([a-z_0-9]+\([^`…]*\))`", PAGE) if "=" in spec})
COUNTED = re.findall(r"^\|[^|]*\| `([^`]+)`[^|]*\| ([\d,]+)[^|]*\|$", PAGE, re.MULTILINE)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _sources.data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def networks(hubert: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The hub's networks, each as a small one of its kind."""
    folder = save_ast(tmp_path_factory.mktemp("ast"))
    others = ("facebook/hubert-base-ls960", "facebook/wav2vec2-base", "microsoft/wavlm-base-plus")
    speech = dict.fromkeys((*others, "jonatasgrosman/wav2vec2-large-xlsr-53-english"), str(hubert))
    return speech | {"MIT/ast-finetuned-audioset-10-10-0.4593": str(folder)}


def smaller(words: list[str], networks: dict[str, str], data: Path) -> list[str]:
    """Returns a command's words with networks and corpora that are there, and methods that fit them."""
    placed = [networks.get(word, word).replace("DATA/", f"{data}/") for word in words]
    return [re.sub(r"size=(32|128)\b", "size=4", word) for word in placed]


def test_the_page_has_a_command_for_every_source() -> None:
    assert (
        len(COMMANDS) >= 10 and len(COUNTED) == 7 and all(shlex.split(command)[0] == "pegbox" for command in COMMANDS)
    )


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command.split()[1:5]))
def test_a_command_is_parsed(command: str) -> None:
    _, name, *words = shlex.split(command)
    group = typer.main.get_command(app)
    found = group.commands[name].make_context(name, words)
    assert found.params


TRAINED = [command for command in COMMANDS if command.startswith("pegbox train")]


@pytest.mark.parametrize("command", TRAINED, ids=lambda command: command.rpartition(" ")[2])
def test_a_training_passes_check(command: str, networks: dict[str, str], data: Path) -> None:
    _, _, *words = smaller(shlex.split(command), networks, data)
    *words, flag, _ = words
    assert flag == "--out"
    done = CliRunner().invoke(app, ["check", *words])
    assert done.exit_code == 0, (done.output, done.exception)


@pytest.mark.parametrize("spec", SPECS)
def test_a_spec_is_one_that_pegbox_knows(spec: str) -> None:
    (call,) = registry.parse(spec)
    kinds = [kind for kind in ("methods", "tasks", "corpora") if call.name in registry.names(kind)]
    assert kinds
    if kinds == ["methods"]:
        methods.parse(spec)
    elif kinds == ["tasks"]:
        needed = {"label": "x"} if call.name == "classify" else {}
        registry.check("tasks", registry.Call(call.name, tuple((needed | dict(call.options)).items())))
    else:
        registry.check(kinds[0], registry.Call(call.name, (*call.options, ("root", "x"))))


@pytest.mark.parametrize(("method", "numbers"), COUNTED)
def test_a_count_of_the_page_is_what_pegbox_counts(method: str, numbers: str, tmp_path: Path) -> None:
    HubertConfig().save_pretrained(tmp_path)  # HuBERT-base; counting reads no weights
    layers = 13 if method == "weighted_sum" else 0
    assert f"{parts(str(tmp_path), method).total + layers:,}" == numbers


def test_the_score_of_the_page_can_be_computed() -> None:
    (code,) = re.findall(r"superb_score\((\{.*?\})\)", PAGE)
    assert 900 < superb_score(eval(code)) < 1000
