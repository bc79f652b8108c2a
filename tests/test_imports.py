"""Who may import whom: the picture of docs/architecture.md, enforced by walking the source."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "pegbox"
FILES = sorted(ROOT.rglob("*.py"))

# A room may import the rooms left of the colon's right side, and itself where it is a folder of machinery.
ALLOWED = {
    "errors": set(),
    "places": set(),
    "budget": {"errors"},
    "registry": {"errors"},
    "audio": {"places", "errors"},
    "mel": {"errors"},
    "rows": {"audio", "errors"},
    "silence": {"audio", "rows", "places", "errors"},
    "blocks": {"errors"},
    "sites": {"blocks", "errors"},
    "attention": {"sites", "errors"},
    "importance": {"errors"},
    "entries": {"importance", "errors"},
    "hooks": {"attention", "sites", "errors"},
    "delta": {"attention", "entries", "hooks", "sites", "errors"},
    "backbones": {"attention", "mel", "sites", "registry", "errors"},
    "methods": {"delta", "entries", "importance", "recipe", "sites", "registry", "errors"},
    "tasks": {"mel", "registry", "errors"},
    "corpora": {"rows", "audio", "registry", "places", "errors"},
    "surgery": {"backbones", "methods", "delta", "entries", "errors"},
    "recipe": {"registry", "errors"},
    "training": {
        *{
            "audio",
            "rows",
            "silence",
            "backbones",
            "methods",
            "tasks",
            "corpora",
            "delta",
            "surgery",
            "recipe",
            "registry",
        },
        *{"mel", "places", "errors"},
    },
    "run": {"training", "backbones", "tasks", "rows", "recipe", "surgery", "errors"},
    "exchange": {"run", "surgery", "backbones", "methods", "delta", "sites", "registry", "errors"},
    "pictures": {"errors"},
    "curves": {"run", "training", "pictures"},
    "spread": {"pictures", "errors"},
    "progress": {"training", "recipe", "errors"},
    "cli": {
        *{"run", "training", "progress", "recipe", "registry", "demo", "cli_exchange", "cli_corpus", "cli_show"},
        *{"cli_query", "cli_say", "budget"},
        *{"cli_bench", "cli_bench_report", "errors"},
    },
    "say": {"run", "training", "backbones", "tasks", "errors"},
    "cli_say": {"say", "run", "cli_exchange"},
    "query": {"training", "backbones", "corpora", "rows", "places", "surgery", "errors"},
    "cli_query": {"query"},
    "cli_show": {"cli_exchange", "curves", "progress", "spread"},
    "bench": {
        *{"run", "training", "tasks", "corpora", "backbones", "surgery", "recipe", "registry", "audio", "rows"},
        *{"places", "errors"},
    },
    "cli_bench": {"bench", "recipe", "errors"},
    "cli_exchange": {"exchange"},
    "cli_corpus": {"census", "corpora", "errors"},
    "cli_bench_report": {"bench"},
    "census": {"corpora", "rows", "audio", "registry", "errors"},
    "demo": {"run", "corpora", "audio", "progress", "curves", "errors"},
    "__main__": {"cli"},
    "__init__": {"backbones", "recipe", "run", "surgery"},
}
PLUGINS = ("backbones", "methods", "tasks", "corpora")
ONLY_IN = {
    "accelerate": {"training"},
    "peft": {"methods"},
    "datasets": {"corpora"},
    "flashlight": {"tasks"},
    "pooch": {"corpora"},
    "pyworld": {"mel"},
    "ray": {"bench"},
    "plotly": {"bench"},
    "torchaudio": set(),
    "torchcodec": set(),
}


def room(path: Path) -> str:
    return path.relative_to(ROOT).with_suffix("").parts[0]


def imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{name.name}" for name in node.names}
    return found


def own(path: Path) -> set[tuple[str, ...]]:
    names = {tuple(name.split(".")[1:]) for name in imported(path) if name.split(".")[0] == "pegbox"}
    return {name for name in names if name}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_room_imports_only_what_it_may(path: Path) -> None:
    here = room(path)
    assert here in ALLOWED, f"say in ALLOWED what the new room '{here}' may import"
    assert {name[0] for name in own(path)} - {here} <= ALLOWED[here]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_plug_in_imports_no_other_plug_in(path: Path) -> None:
    if room(path) in PLUGINS and not path.stem.startswith("_"):
        beside = {name[1:] for name in own(path) if name[0] == room(path) and len(name) > 1}
        plain = {name for name in beside if not any(part.startswith("_") for part in name)}
        assert not plain, f"{path.stem} imports its neighbours {plain}"


@pytest.mark.parametrize("library", ONLY_IN)
def test_a_library_is_imported_in_its_room_alone(library: str) -> None:
    users = {room(path) for path in FILES if any(name.split(".")[0] == library for name in imported(path))}
    assert users <= ONLY_IN[library]
