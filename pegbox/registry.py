"""A name is a file, a spec is a call: `lora(rank=4)` means `methods/lora.py` with that option.

A file in a folder bears both names: `synthetic_keywords` is `corpora/synthetic/keywords.py`.
Names, options, types and defaults are read from the source text, so that listing and checking
import nothing heavy; only `build` imports a plug-in. Specs hold plain values and are never executed.
"""

import ast
import importlib
import importlib.util
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from pegbox.errors import RecipeError, nearest

KINDS: Final = ("backbones", "methods", "tasks", "corpora")
_LONGEST_SPEC: Final = 10_000


@dataclass(frozen=True)
class Option:
    """One setting of a plug-in: its annotation and its default, as written in the source."""

    annotation: str
    default: str | None  # None: must be given

    def __str__(self) -> str:
        return self.annotation if self.default is None else f"{self.annotation} = {self.default}"


# Options that every plug-in of a kind understands beside its own.
COMMON: Final[Mapping[str, Mapping[str, Option]]] = MappingProxyType({"methods": {"blocks": Option("str", '":"')}})


@dataclass(frozen=True)
class Call:
    """One parsed term of a spec: a name and its options as plain values."""

    name: str
    options: tuple[tuple[str, Any], ...] = ()

    def __str__(self) -> str:
        inside = ", ".join(f"{key}={_written(value)}" for key, value in self.options)
        return f"{self.name}({inside})" if inside else self.name


@dataclass(frozen=True)
class Plugin:
    """What a plug-in file says of itself: name, module, first docstring line, class and options."""

    kind: str
    name: str
    module: str
    summary: str
    class_name: str
    options: Mapping[str, Option]

    def __str__(self) -> str:
        return f"{self.name}({', '.join(f'{key}: {option}' for key, option in self.options.items())})"


def parse(spec: str, where: str = "spec") -> tuple[Call, ...]:
    """Reads `a(x=1) + b` into calls; refuses everything but names and plain values, executing nothing."""
    if not isinstance(spec, str) or not spec.strip():
        raise RecipeError(f"{where}: expected a name such as 'lora' or 'lora(rank=8)', found {spec!r}")
    if len(spec) > _LONGEST_SPEC:
        raise RecipeError(f"{where}: a spec of {len(spec)} characters; the longest allowed is {_LONGEST_SPEC}")
    try:
        tree = ast.parse(spec.strip(), mode="eval").body
        return tuple(_term(node, spec, where) for node in _summands(tree))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as problem:
        raise RecipeError(f"{where}: cannot read {spec!r} ({problem}); write it like 'lora(rank=8)'") from None


def names(kind: str) -> dict[str, str]:
    """Returns name → module of every plug-in of a kind: the folder's files and installed entry points."""
    folder = Path(__file__).parent / kind
    paths = [path.relative_to(folder).with_suffix("") for path in sorted(folder.glob("**/[!_]*.py"))]
    found = {"_".join(path.parts): ".".join(("pegbox", kind, *path.parts)) for path in paths}
    for point in entry_points(group=f"pegbox.{kind}"):
        if point.name in found:
            raise RecipeError(f"{kind}: the plug-in '{point.name}' from {point.value} takes a name already in use")
        found[point.name] = point.value
    return found


def shipped() -> dict[str, str]:
    """Returns name → first line of the model card of every checkpoint that comes with Pegbox."""
    cards = sorted((Path(__file__).parent / "backbones").glob("*/README.md"))
    return {card.parent.name: card.read_text(encoding="utf-8").partition("# ")[2].partition("\n")[0] for card in cards}


@cache
def describe(kind: str, name: str) -> Plugin:
    """Returns what a plug-in's source says of it, importing nothing of it."""
    modules, tree = names(kind), _tree(kind, name)
    summary = (ast.get_docstring(tree) or "").partition("\n")[0]
    if kind == "backbones":  # a table named `family`, without options
        return Plugin(kind, name, modules[name], summary, "family", MappingProxyType({}))
    chosen = _public_dataclass(tree, modules[name])
    options = _fields(chosen) | dict(COMMON.get(kind, {}))
    return Plugin(kind, name, modules[name], summary, chosen.name, MappingProxyType(options))


def literals(kind: str, name: str) -> dict[str, Any]:
    """Returns the constants that a plug-in's source writes as plain values (`GET: Final = "…"`), importing nothing."""
    found = {}
    for node in _tree(kind, name).body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            with suppress(ValueError):  # an expression, which only an import could know
                found[node.target.id] = ast.literal_eval(node.value)
    return found


def check(kind: str, call: Call, where: str = "spec") -> dict[str, Any]:
    """Returns the options of a call in their declared types, or says which one is wrong."""
    plugin = describe(kind, call.name)
    given: dict[str, Any] = {}
    for key, value in call.options:
        if key not in plugin.options:
            raise RecipeError(f"{where}: {call.name} has no option '{key}'{nearest(key, plugin.options)}")
        try:
            given[key] = fit(value, plugin.options[key].annotation)
        except TypeError as problem:
            raise RecipeError(f"{where}: {call.name}({key}={value!r}): {problem}") from None
    missing = [key for key, option in plugin.options.items() if option.default is None and key not in given]
    if missing:
        raise RecipeError(f"{where}: {call.name} needs {', '.join(missing)}; its form is {plugin}")
    return given


def build(kind: str, call: Call, where: str = "spec") -> Any:
    """Imports the plug-in and returns its settings object; common options are not part of it."""
    options = check(kind, call, where)
    plugin = describe(kind, call.name)
    own = {key: value for key, value in options.items() if key not in COMMON.get(kind, {})}
    return getattr(importlib.import_module(plugin.module), plugin.class_name)(**own)


def fit(value: Any, annotation: str) -> Any:
    """Returns a plain value in the annotated type (int, float, str, bool, None, tuple, dict, Literal, unions)."""
    try:
        return _fit(value, ast.parse(annotation, mode="eval").body)
    except OverflowError:
        raise TypeError(f"expected a number that a machine can hold, found {str(value)[:20]}…") from None


def _tree(kind: str, name: str) -> ast.Module:
    modules = names(kind)
    if name not in modules:
        raise RecipeError(f"{kind}: unknown name '{name}'{nearest(name, modules)}")
    return ast.parse(_source(kind, name, modules[name]).read_text(encoding="utf-8"))


def _source(kind: str, name: str, module: str) -> Path:
    if module.startswith(f"pegbox.{kind}."):  # asking the import system would import the package, and torch with it
        return Path(__file__).parent.joinpath(*module.split(".")[1:]).with_suffix(".py")
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise RecipeError(f"{kind}: the plug-in '{name}' points to {module}, which cannot be found")
    return Path(spec.origin)


def _written(value: Any) -> str:
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_written(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_written(key)}: {_written(item)}" for key, item in value.items()) + "}"
    return repr(value)


def _summands(node: ast.expr) -> list[ast.expr]:
    terms = []
    while isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        terms.append(node.right)
        node = node.left
    return [node, *reversed(terms)]


def _term(node: ast.expr, spec: str, where: str) -> Call:
    if isinstance(node, ast.Name):
        return Call(node.id)
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
        raise RecipeError(
            f"{where}: {spec!r} holds '{ast.unparse(node)}'; only names and calls with plain values count"
        )
    if node.args or any(word.arg is None for word in node.keywords):
        raise RecipeError(
            f"{where}: {ast.unparse(node)}: options are written by name, as in {node.func.id}(name=value)"
        )
    options = tuple((str(word.arg), _plain(word, where)) for word in node.keywords)
    twice = {key for key, _ in options if sum(key == other for other, _ in options) > 1}
    if twice:
        raise RecipeError(f"{where}: {node.func.id} is given {', '.join(sorted(twice))} twice")
    return Call(node.func.id, options)


def _plain(word: ast.keyword, where: str) -> Any:
    try:
        return ast.literal_eval(word.value)
    except (ValueError, TypeError):
        text = ast.unparse(word.value)
        raise RecipeError(
            f"{where}: {word.arg}={text} is not a plain value; use numbers, 'text', True, False or lists"
        ) from None


def _public_dataclass(tree: ast.Module, module: str) -> ast.ClassDef:
    found = [
        node
        for node in tree.body
        if isinstance(node, ast.ClassDef)
        and not node.name.startswith("_")
        and any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list)
    ]
    if len(found) != 1:
        raise RecipeError(f"{module}: a plug-in file has exactly one public dataclass, found {len(found)}")
    return found[0]


def _fields(node: ast.ClassDef) -> dict[str, Option]:
    return {
        statement.target.id: Option(
            ast.unparse(statement.annotation), None if statement.value is None else ast.unparse(statement.value)
        )
        for statement in node.body
        if isinstance(statement, ast.AnnAssign)
        and isinstance(statement.target, ast.Name)
        and "ClassVar" not in ast.unparse(statement.annotation)
    }


def _fit(value: Any, node: ast.expr) -> Any:
    match node:
        case ast.BinOp(op=ast.BitOr()):
            return _fit_either(value, node)
        case ast.Constant(value=None):
            return _need(value is None, value, "None", value)
        case ast.Name(id="float"):
            plain = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
            return _need(plain, value, "a number", float(value) if plain else value)
        case ast.Name(id="int"):
            return _need(isinstance(value, int) and not isinstance(value, bool), value, "a whole number", value)
        case ast.Name(id="bool"):
            return _need(isinstance(value, bool), value, "True or False", value)
        case ast.Name(id="str"):
            return _need(isinstance(value, str), value, "text in quotes", value)
        case ast.Subscript(value=ast.Name(id="tuple"), slice=ast.Tuple(elts=[inner, *_])):
            _need(isinstance(value, list | tuple), value, "a list", value)
            return tuple(_fit(item, inner) for item in value)
        case ast.Subscript(value=ast.Name(id="dict"), slice=ast.Tuple(elts=[_, inner])):
            _need(isinstance(value, dict), value, "a table", value)
            return {str(key): _fit(item, inner) for key, item in value.items()}
        case ast.Subscript(value=ast.Name(id="Literal"), slice=inner):
            allowed = ast.literal_eval(inner)
            allowed = allowed if isinstance(allowed, tuple) else (allowed,)
            return _need(value in allowed, value, " or ".join(map(repr, allowed)), value)
    raise TypeError(f"the annotation '{ast.unparse(node)}' is not one that a spec can carry")


def _fit_either(value: Any, node: ast.BinOp) -> Any:
    problems = []
    for side in (node.left, node.right):
        try:
            return _fit(value, side)
        except TypeError as problem:
            problems.append(str(problem).partition(", found")[0].removeprefix("expected "))
    raise TypeError(f"expected {' or '.join(problems)}, found {value!r}")


def _need(right: bool, value: Any, wanted: str, result: Any) -> Any:
    if not right:
        raise TypeError(f"expected {wanted}, found {value!r}")
    return result
