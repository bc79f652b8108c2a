"""Specs are read, never executed; names are files; options are checked before anything is imported."""

import keyword
import subprocess
import sys
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pegbox import registry
from pegbox.errors import RecipeError, nearest
from pegbox.registry import Call, fit, parse

NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
WORDS = NAMES.filter(lambda name: not keyword.iskeyword(name))
TEXT = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\x00\r"), max_size=12)
NUMBERS = st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False))
LEAVES = st.one_of(NUMBERS, st.booleans(), st.none(), TEXT)
VALUES = st.recursive(
    LEAVES, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXT, inner, max_size=3)), max_leaves=6
)
CALLS = st.builds(Call, WORDS, st.dictionaries(WORDS, VALUES, max_size=3).map(lambda options: tuple(options.items())))


@given(st.lists(CALLS, min_size=1, max_size=3))
def test_what_is_written_reads_back(calls):
    assert parse(" + ".join(map(str, calls))) == tuple(calls)


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text):
    try:
        calls = parse(text)
    except RecipeError:
        return
    assert calls
    assert parse(" + ".join(map(str, calls))) == calls


def test_forms_of_a_spec():
    assert parse("lora") == (Call("lora"),)
    assert parse("  lora() ") == (Call("lora"),)
    assert parse("lora(rank=-8, at=['q', \"v\"],)") == (Call("lora", (("rank", -8), ("at", ["q", "v"]))),)
    assert [call.name for call in parse("a + b(x=1) + c")] == ["a", "b", "c"]
    assert parse("(a + b) + c") == parse("a + b + c")


HOSTILE = (
    "__import__('os').system('touch {trap}')",
    "lora(rank=__import__('os').system('touch {trap}'))",
    "lora(rank=open('{trap}', 'w'))",
    "lora(at=[open('{trap}', 'w')])",
    "lora(rank=(lambda: open('{trap}', 'w'))())",
    "open('{trap}', 'w') + lora",
    "(lambda: 1)",
    "lora(rank=lambda: 1)",
    "lora.rank",
    "lora(rank=lora.__class__)",
    "lora.__init__(rank=1)",
    "lora(rank=1)(rank=2)",
    "lora(name=f'{{open(1)}}')",
    "(lora := 3)",
    "lora(rank=(x := 3))",
    "lora(at=[x for x in 'ab'])",
    "lora(at={{x: 1 for x in 'ab'}})",
    "lora(at=(x for x in 'ab'))",
    "lora(rank=1 if True else 2)",
    "lora(rank=not True)",
    "lora(rank=2 ** 10)",
    "lora(rank=9 ** 9 ** 9)",
    "lora(at='a' * 3)",
    "lora(at=['q'][0])",
    "lora(rank=x)",
    "lora(8)",
    "lora(*[1])",
    "lora(**{{'rank': 1}})",
    "lora - bitfit",
    "lora * 2",
    "lora + 1",
    "lora + 'bitfit'",
    "lora; bitfit",
    "lora\nbitfit",
    "import os",
    "lora(rank=1",
    "lora +",
    "1",
    "'lora'",
    "await lora",
    "\x00",
    "lora\x00",
    "lora(name='\x00')",
    "",
    "   ",
    "...",
)


@pytest.mark.parametrize("spec", HOSTILE)
def test_what_is_no_plain_call_is_refused_and_not_executed(spec, tmp_path):
    trap = tmp_path / "trap"
    with pytest.raises(RecipeError, match="recipe line 3"):
        parse(spec.format(trap=trap) if "{" in spec else spec, "recipe line 3")
    assert not trap.exists()


@pytest.mark.parametrize(
    "spec",
    [
        "(" * 5000,
        "(" * 90 + "lora" + ")" * 90 + ".x",
        "lora(rank=" + "[" * 5000 + "]" * 4900 + ")",
        "lora(rank=" + "-" * 9000 + "1.x)",
        "lora(rank=" + "+".join(["x"] * 3000) + ")",
        "not " * 2400 + "lora",
        "lora." * 1900 + "x",
        "a" * 11_000,
        "lora" + " + lora" * 1600,
    ],
    ids=["parentheses", "nested", "lists", "signs", "sums", "nots", "dots", "long", "long-union"],
)
def test_huge_and_deep_specs_are_refused(spec):
    with pytest.raises(RecipeError):
        parse(spec)


@pytest.mark.parametrize("spec", [None, 3, b"lora", ["lora"], {"lora": 1}, 1.5, True])
def test_what_is_no_text_is_refused(spec):
    with pytest.raises(RecipeError, match="expected a name"):
        parse(spec)


def test_an_option_given_twice_is_refused():
    with pytest.raises(RecipeError, match="rank"):
        registry.check("methods", parse("lora(rank=1, rank=2)")[0])


@pytest.mark.parametrize("spec", ["lora(alpha=1e999)", "lora(alpha=-1e999)"])
def test_a_number_that_is_not_finite_is_refused(spec):
    with pytest.raises(RecipeError, match="alpha"):
        registry.check("methods", parse(spec)[0])


def test_an_unknown_name_answers_with_the_nearest():
    with pytest.raises(RecipeError, match="methods: unknown name 'lorra'; did you mean 'lora'"):
        registry.describe("methods", "lorra")
    with pytest.raises(RecipeError, match=r"unknown name 'zzzzzz'; known: .*bitfit"):
        registry.describe("methods", "zzzzzz")


@pytest.mark.parametrize("name", ["__init__", "_parts", "../errors", "lora.py", ""])
def test_machinery_is_no_plug_in(name):
    with pytest.raises(RecipeError, match="unknown name"):
        registry.describe("methods", name)


def test_an_unknown_option_answers_with_the_nearest():
    with pytest.raises(RecipeError, match="lora has no option 'ranks'; did you mean 'rank'"):
        registry.check("methods", parse("lora(ranks=8)")[0])
    with pytest.raises(RecipeError, match=r"here: lora has no option 'zzz'; known: alpha, at, blocks"):
        registry.check("methods", parse("lora(zzz=8)")[0], "here")


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("lora(rank='8')", "expected a whole number, found '8'"),
        ("lora(rank=8.0)", "expected a whole number, found 8.0"),
        ("lora(rank=True)", "expected a whole number, found True"),
        ("lora(rank=None)", "expected a whole number, found None"),
        ("lora(alpha='x')", "expected a number, found 'x'"),
        ("lora(alpha=True)", "expected a number, found True"),
        ("lora(at=...)", "expected a list, found Ellipsis"),
        ("lora(at={'q'})", "expected a list"),
        ("lora(at=b'q')", "expected a list"),
        ("lora(alpha=1j)", "expected a number"),
        ("lora(at='q')", "expected a list, found 'q'"),
        ("lora(at=['q', 3])", "expected text in quotes, found 3"),
        ("lora(at={'q': 3})", "expected a list"),
        ("lora(blocks=6)", "expected text in quotes, found 6"),
        ("bottleneck(norm=1)", "expected True or False, found 1"),
        ("bottleneck(form='x')", "expected 'sequential' or 'parallel', found 'x'"),
        ("bottleneck(form=['sequential'])", "expected 'sequential' or 'parallel'"),
    ],
)
def test_a_value_of_another_type_is_refused(spec, expected):
    with pytest.raises(RecipeError) as refusal:
        registry.check("methods", parse(spec)[0])
    assert expected in str(refusal.value)


@pytest.mark.parametrize(
    ("value", "annotation", "result"),
    [
        (3, "int", 3),
        (3, "float", 3.0),
        (True, "bool", True),
        (None, "int | None", None),
        (4, "int | None", 4),
        (["a", "b"], "tuple[str, ...]", ("a", "b")),
        ([], "tuple[int, ...]", ()),
        ({"a": 1}, "dict[str, float]", {"a": 1.0}),
        ("x", "Literal['x', 'y'] | int", "x"),
        (2, "Literal['x', 'y'] | int", 2),
        ("x", "Literal['x']", "x"),
    ],
)
def test_values_take_the_type_of_the_annotation(value, annotation, result):
    fitted = fit(value, annotation)
    assert fitted == result
    assert type(fitted) is type(result)


@pytest.mark.parametrize(
    ("value", "annotation", "message"),
    [
        ("x", "int | None", "expected a whole number or None, found 'x'"),
        ([1], "dict[str, int]", "expected a table"),
        ({"a": "b"}, "dict[str, int]", "expected a whole number, found 'b'"),
        (1, "bytes", "not one that a spec can carry"),
    ],
)
def test_values_that_do_not_fit_say_why(value, annotation, message):
    with pytest.raises(TypeError) as refusal:
        fit(value, annotation)
    assert message in str(refusal.value)


@dataclass(frozen=True)
class Entry:
    """An installed entry point, as `importlib.metadata` shows it."""

    name: str
    value: str


def third_party(tmp_path, monkeypatch, source, name="thirdparty_method"):
    """Installs a plug-in module beside ours."""
    (tmp_path / f"{name}.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "entry_points", lambda group: [Entry(name, name)] * (group == "pegbox.methods"))
    registry.describe.cache_clear()


PLUGIN = '''"""A third party's."""
from dataclasses import dataclass
raise RuntimeError("imported")
@dataclass(frozen=True)
class Theirs:
    """Theirs."""
    needed: int
    other: str = "x"
'''


def test_a_third_partys_plug_in_is_checked_without_importing_it(tmp_path, monkeypatch):
    third_party(tmp_path, monkeypatch, PLUGIN)
    assert "thirdparty_method" in registry.names("methods")
    with pytest.raises(RecipeError, match="thirdparty_method needs needed; its form is"):
        registry.check("methods", Call("thirdparty_method"))
    assert registry.check("methods", parse("thirdparty_method(needed=3)")[0]) == {"needed": 3}
    assert "thirdparty_method" not in sys.modules


@pytest.mark.parametrize("count", [0, 2])
def test_a_plug_in_has_exactly_one_dataclass(count, tmp_path, monkeypatch):
    classes = "".join(f"@dataclass\nclass C{i}:\n    x: int = 1\n" for i in range(count))
    third_party(tmp_path, monkeypatch, f'"""Doc."""\n{classes}', f"thirdparty_{count}")
    with pytest.raises(RecipeError, match=f"exactly one public dataclass, found {count}"):
        registry.describe("methods", f"thirdparty_{count}")


def test_a_third_party_cannot_take_a_name_in_use(tmp_path, monkeypatch):
    third_party(tmp_path, monkeypatch, PLUGIN, "lora")
    with pytest.raises(RecipeError, match="'lora' from lora takes a name already in use"):
        registry.names("methods")


def test_every_plug_in_describes_itself_without_torch():
    program = (
        "import sys; from pegbox import registry\n"
        "found = [registry.describe(kind, name) for kind in registry.KINDS for name in registry.names(kind)]\n"
        "assert len(found) > 5 and all(plugin.summary and plugin.class_name for plugin in found), found\n"
        "registry.check('methods', registry.parse('lora(rank=4)')[0])\n"
        "heavy = {'torch', 'transformers', 'numpy', 'accelerate', 'sklearn', 'soundfile'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_building_imports_and_fills_in():
    built = registry.build("methods", parse('lora(rank=4, at=["q"], blocks="6:")')[0])
    assert (type(built).__name__, built.rank, built.alpha, built.at) == ("LoRA", 4, 16.0, ("q",))


def test_nearest_words():
    assert nearest("lorra", ["lora", "bitfit"]) == "; did you mean 'lora'?"
    assert nearest("zzz", ["b", "a"]) == "; known: a, b"
    assert nearest("zzz", []) == "; known: none"
