"""A recipe is the same thing as a TOML file, as flags and in Python, and refuses what cannot be meant."""

import tomllib
from dataclasses import FrozenInstanceError, fields, replace
from math import inf, nan
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pegbox import recipe as recipe_
from pegbox.errors import RecipeError
from pegbox.recipe import Cache, Recipe, Search, Train, dumps, make, override, read
from pegbox.registry import fit

NOUNS = {
    "backbone": "facebook/hubert-base-ls960",
    "method": "lora(rank=4) + bitfit",
    "task": 'classify(label="word")',
    "corpus": 'folder(root="clips")',
}
# One other value than the default of every setting that is not a noun.
OTHER: dict[str, Any] = {
    "features": 3,
    "seeds": (1, 2),
    "folds": (1, 2, 5),
    "gain": -3.0,
    "silence": 0.1,
    "train.epochs": 3,
    "train.steps": 100,
    "train.head_epochs": 5,
    "train.batch_seconds": 4.5,
    "train.batch_clips": 7,
    "train.crop": 2.5,
    "train.longer_than": 2.0,
    "train.mixup": 0.25,
    "train.mask_bands": 24,
    "train.mask_frames": 96,
    "train.balanced": True,
    "train.accumulate": 2,
    "train.head_lr": 2e-3,
    "train.layers_lr": 0.5,
    "train.delta_lr": 1e-4,
    "train.rate": 3.0,
    "train.optimizer": "childnet_adamw",
    "train.betas": (0.95, 0.999),
    "train.eps": 1e-6,
    "train.weight_decay": 0.0,
    "train.warmup": 0.25,
    "train.hold": 0.5,
    "train.schedule": "cosine",
    "train.milestones": (2, 5),
    "train.decay": 0.85,
    "train.clip": 5.0,
    "train.precision": "bf16",
    "train.checkpointing": True,
    "train.validate_epochs": 2,
    "train.validate_steps": 10,
    "train.patience": 4,
    "cache.use": False,
    "cache.limit_gb": 0.5,
    "cache.folder": "there",
}
TEXT = st.text(st.characters(blacklist_categories=("Cs",)), max_size=10)


def nested(**flat: Any) -> dict[str, Any]:
    """Returns NOUNS with `train.epochs`-like keys as nested tables."""
    settings: dict[str, Any] = dict(NOUNS)
    for key, value in flat.items():
        section, dot, name = key.partition(".")
        if dot:
            settings.setdefault(section, {})[name] = value
        else:
            settings[key] = value
    return settings


def written(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(list(value) if isinstance(value, tuple) else value)


def settings_of(kind: Any, prefix: str = "") -> set[str]:
    return {prefix + each.name for each in fields(kind)}


def test_the_table_of_other_values_is_complete():
    own = settings_of(Recipe) - {*NOUNS, "train", "search", "cache"}
    assert {*OTHER} == own | settings_of(Train, "train.") | settings_of(Cache, "cache.")  # a search replaces a method


def test_file_flags_and_python_are_the_same_thing(tmp_path: Path):
    from_python = Recipe(
        **NOUNS,
        **{key: value for key, value in OTHER.items() if "." not in key},
        train=Train(**{k.removeprefix("train."): v for k, v in OTHER.items() if k.startswith("train.")}),
        cache=Cache(**{k.removeprefix("cache."): v for k, v in OTHER.items() if k.startswith("cache.")}),
    )
    from_flags = make(override(NOUNS, [f"{key}={written(value)}" for key, value in OTHER.items()]))
    (tmp_path / "recipe.toml").write_text(dumps(from_python), encoding="utf-8")
    from_file = make(read(tmp_path / "recipe.toml"))
    from_tables = make(nested(**OTHER))
    assert from_python == from_flags == from_file == from_tables
    assert len({each.digest for each in (from_python, from_flags, from_file, from_tables)}) == 1


@settings(deadline=None)  # a busy machine is no failure
@given(
    TEXT,
    st.sampled_from(["auto", "weighted", "last"]) | st.integers(0, 30),
    st.lists(st.integers(-(10**12), 10**12), min_size=1, max_size=4, unique=True),
    st.floats(1e-9, 1e9),
    TEXT,
)
def test_any_recipe_comes_back_from_its_file(
    tmp_path_factory: pytest.TempPathFactory, backbone, features, seeds, rate, folder
):
    path = tmp_path_factory.getbasetemp() / "any.toml"
    made = Recipe(
        **NOUNS | {"backbone": backbone},
        features=features,
        seeds=tuple(seeds),
        train=Train(head_lr=rate),
        cache=Cache(folder=folder),
    )
    path.write_text(dumps(made), encoding="utf-8")
    again = make(read(path))
    assert again == made
    assert again.digest == made.digest


def test_python_values_take_the_declared_types():
    made = Recipe(**NOUNS, seeds=[3, 4], train={"head_lr": 1})
    assert made.seeds == (3, 4)
    assert made.train == Train(head_lr=1.0)
    assert type(made.train.head_lr) is float
    assert made.digest == make(nested(seeds=[3, 4], **{"train.head_lr": 1.0})).digest


@pytest.mark.parametrize("key", OTHER)
def test_everything_but_the_cache_changes_the_digest(key):
    changed = make(nested(**{key: OTHER[key]}))
    assert changed != make(NOUNS)
    assert (changed.digest == make(NOUNS).digest) is key.startswith("cache.")


@pytest.mark.parametrize(
    ("noun", "value"),
    [("backbone", "other"), ("method", "bitfit"), ("task", "ctc"), ("corpus", 'folder(root="other")')],
)
def test_every_noun_changes_the_digest(noun, value):
    assert make(NOUNS | {noun: value}).digest != make(NOUNS).digest


def test_a_recipe_does_not_change():
    with pytest.raises(FrozenInstanceError):
        make(NOUNS).backbone = "other"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"epochs": 3}, "unknown setting 'epochs'"),
        ({"feature": "last"}, "unknown setting 'feature'; did you mean 'features'"),
        ({"train": {"epoch": 3}}, "unknown setting 'train.epoch'; did you mean 'epochs'"),
        ({"cache": {"limit": 3}}, "unknown setting 'cache.limit'; did you mean 'limit_gb'"),
        ({"train": 5}, "'train' is a table of settings, found 5"),
        ({"cache": "off"}, "'cache' is a table of settings, found 'off'"),
        ({"train": Cache()}, "'train' is a table of settings"),
    ],
)
def test_unknown_settings_answer_with_the_nearest(more, message):
    with pytest.raises(RecipeError, match=message):
        make(NOUNS | more)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("backbone", 5, "'backbone': expected text in quotes, found 5"),
        ("features", "first", "'features': expected .* or a whole number, found 'first'"),
        ("features", True, "'features'"),
        ("seeds", 3, "'seeds': expected a list, found 3"),
        ("seeds", "012", "'seeds': expected a list"),
        ("seeds", [0, 1.0], "'seeds': expected a whole number, found 1.0"),
        ("folds", [True], "'folds': expected a whole number, found True"),
        ("train.epochs", 2.0, "'train.epochs': expected a whole number, found 2.0"),
        ("train.epochs", "3", "'train.epochs': expected a whole number, found '3'"),
        ("train.head_lr", "1e-3", "'train.head_lr': expected a number"),
        ("train.head_lr", True, "'train.head_lr': expected a number"),
        ("train.schedule", "cosin", "'train.schedule': expected 'constant' or 'linear' or 'cosine', found 'cosin'"),
        ("train.precision", 16, "'train.precision': expected 'fp32' or 'bf16'"),
        ("cache.use", 1, "'cache.use': expected True or False, found 1"),
        ("cache.folder", None, "'cache.folder': expected text"),
    ],
)
def test_a_wrong_type_is_refused_by_name(key, value, message):
    with pytest.raises(RecipeError, match=message):
        make(nested(**{key: value}))
    section, dot, name = key.partition(".")
    with pytest.raises(RecipeError, match=message):  # and in Python
        kind = {"train": Train, "cache": Cache}.get(section if dot else "")
        kind(**{name: value}) if kind else Recipe(**NOUNS | {key: value})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *((f"train.{name}", 0) for name in ("epochs", "batch_seconds", "batch_clips", "accumulate", "clip")),
        *((f"train.{name}", -1) for name in ("steps", "delta_lr", "weight_decay", "validate_steps", "patience")),
        *((f"train.{name}", bad) for name in ("head_lr", "layers_lr") for bad in (0, -1.0, nan, inf)),
        *((f"train.{name}", bad) for name in ("delta_lr", "weight_decay", "warmup") for bad in (nan, inf)),
        ("train.validate_epochs", 0),
        ("train.warmup", -0.1),
        ("train.warmup", 1.5),
        ("train.crop", -1.0),
        ("train.mask_bands", -1),
        ("train.mask_frames", -1),
        ("train.mixup", -0.5),
        ("train.mixup", 1.5),
        ("train.mixup", nan),
        ("train.eps", -1e-8),
        ("train.hold", -0.1),
        ("train.hold", 0.95),
        ("train.milestones", [0]),
        ("train.milestones", [3, 2]),
        ("train.decay", 0.0),
        ("train.decay", 1.5),
        ("train.betas", [0.9]),
        ("train.betas", [0.9, 1.0]),
        ("cache.limit_gb", -1),
        ("cache.limit_gb", nan),
        ("cache.limit_gb", inf),
        ("train.epochs", 10**400),
        ("train.head_lr", 10**400),
        ("train.patience", 10**20),
        ("seeds", [10**40]),
        ("seeds", [-(10**13)]),
        ("seeds", []),
        ("seeds", [1, 1]),
        ("folds", [2, 2]),
    ],
)
def test_a_number_that_cannot_be_meant_is_refused_by_name(key, value):
    with pytest.raises(RecipeError, match=key.replace(".", r"\.")):
        make(nested(**{key: value}))


def test_all_numbers_that_must_be_positive_are_named_at_once():
    with pytest.raises(RecipeError, match=r"train\.epochs=0, train\.clip=-1\.0, train\.steps=-2"):
        make(nested(**{"train.epochs": 0, "train.clip": -1.0, "train.steps": -2}))


@pytest.mark.parametrize("key", ["seeds", "folds"])
def test_zero_where_zero_has_a_meaning(key):
    zeros = {f"train.{name}": 0 for name in ("steps", "delta_lr", "weight_decay", "warmup", "patience")}
    made = make(nested(**zeros, **{key: [0], "cache.limit_gb": 0}))
    assert (made.train.steps, made.train.delta_lr, getattr(made, key)) == (0, 0.0, (0,))


def test_a_constant_rate_cannot_be_held_before_a_decline():
    with pytest.raises(RecipeError, match=r"train\.hold=0\.4: a share of all steps between warmup and a decline"):
        make(nested(**{"train.hold": 0.4, "train.schedule": "constant"}))


def test_missing_nouns_are_all_named():
    with pytest.raises(RecipeError, match="the recipe lacks method, corpus; give them in the file or as --method"):
        make({"backbone": "x", "task": "ctc"})
    with pytest.raises(RecipeError, match="lacks backbone, method, task, corpus"):
        make({})


@pytest.mark.parametrize(
    ("noun", "spec", "message"),
    [
        ("method", "lorra", "methods: unknown name 'lorra'; did you mean 'lora'"),
        ("method", "lora(rnk=4)", "lora has no option 'rnk'; did you mean 'rank'"),
        ("method", "lora(rank='4')", "expected a whole number"),
        ("method", "", "expected a name"),
        ("task", "clasify(label='x')", "did you mean 'classify'"),
        ("task", "classify", "classify needs label"),
        ("task", "ctc + ctc", "task: exactly one, found 2"),
        ("corpus", "folders(root='x')", "did you mean 'folder'"),
        ("corpus", "folder(root=open('x'))", "not a plain value"),
    ],
)
def test_specs_are_checked_at_once(noun, spec, message):
    with pytest.raises(RecipeError, match=message):
        make(NOUNS | {noun: spec})


# --- --set --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "value"),
    [
        ("seeds=[0, 1]", {"seeds": [0, 1]}),
        ("train.epochs=5", {"train": {"epochs": 5}}),
        (" train.head_lr = 1e-3 ", {"train": {"head_lr": 1e-3}}),
        ("train.schedule=cosine", {"train": {"schedule": "cosine"}}),
        ('train.schedule="cosine"', {"train": {"schedule": "cosine"}}),
        ("cache.use=false", {"cache": {"use": False}}),
        ("cache.folder=", {"cache": {"folder": ""}}),
        ('task=classify(label="a=b")', {"task": 'classify(label="a=b")'}),
        ("method=lora(rank=8) + bitfit", {"method": "lora(rank=8) + bitfit"}),
        ("backbone=facebook/hubert-base-ls960", {"backbone": "facebook/hubert-base-ls960"}),
        ("a.b.c=1", {"a": {"b": {"c": 1}}}),
    ],
)
def test_changes_are_toml_values_or_text(change, value):
    assert override({}, [change]) == value


def test_later_changes_win_and_the_settings_stay_as_they_were():
    settings = {"train": {"epochs": 1, "clip": 2.0}, "seeds": [0]}
    found = override(settings, ["train.epochs=5", "train.epochs=6", "seeds=[1]"])
    assert found == {"train": {"epochs": 6, "clip": 2.0}, "seeds": [1]}
    assert settings == {"train": {"epochs": 1, "clip": 2.0}, "seeds": [0]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("train.epochs", r"--set train\.epochs: write it as key=value"),
        ("seeds.first=1", "'seeds' is a value, not a table"),
        ("method.rank=1", "'method' is a value, not a table"),
    ],
)
def test_changes_that_cannot_be_meant_are_refused(change, message):
    with pytest.raises(RecipeError, match=message):
        override(NOUNS | {"seeds": [0]}, [change])


@pytest.mark.parametrize("change", ["=5", "train=5", "train.=5", "train.epochs=", "a.b=1", "seeds=[0,", "folds={}"])
def test_strange_changes_end_in_a_refusal(change):
    with pytest.raises(RecipeError):
        make(override(NOUNS, [change]))


# --- files --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"backbone = ", b"a = 1\na = 2\n", b"\xff\xfe", b"[train\n"])
def test_a_damaged_file_is_refused_with_its_path(content, tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_bytes(content)
    with pytest.raises(RecipeError, match=r"recipe\.toml: not a readable TOML recipe"):
        read(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(RecipeError, match=r"missing\.toml: no such recipe file"):
        read(tmp_path / "missing.toml")
    with pytest.raises(RecipeError, match="not a readable TOML recipe"):
        read(tmp_path)


# --- fit ----------------------------------------------------------------------------------------------------------


def is_of(value: Any, hint: Any) -> bool:
    """An independent check of a plain value against a real type."""
    if hint in (int, float, bool, str, type(None)):
        return type(value) is hint
    origin, inner = get_origin(hint), get_args(hint)
    if origin is tuple:
        return isinstance(value, tuple) and all(is_of(item, inner[0]) for item in value)
    if origin is dict:
        return isinstance(value, dict) and all(is_of(k, str) and is_of(v, inner[1]) for k, v in value.items())
    if str(origin) == "typing.Literal":
        return value in inner
    return any(is_of(value, each) for each in inner)


LEAVES = st.one_of(st.none(), st.booleans(), st.integers(-(10**6), 10**6), st.floats(), TEXT)


def as_lists(value: Any) -> Any:
    """A value without the difference between lists and tuples, which a spec does not make."""
    return [as_lists(item) for item in value] if isinstance(value, list | tuple) else value


PLAIN = LEAVES | st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
HINTS = {
    f"{kind.__name__}.{each.name}": (each.type, get_type_hints(kind, vars(recipe_))[each.name])
    for kind in (Recipe, Train, Search, Cache)
    for each in fields(kind)
    if each.name not in ("train", "search", "cache")
}
MORE = {
    "float | None": float | None,
    "tuple[float, ...]": tuple[float, ...],
    "dict[str, str]": dict[str, str],
    "tuple[tuple[str, ...], ...]": tuple[tuple[str, ...], ...],
    "int | bool | str": int | bool | str,
}


@pytest.mark.parametrize(("annotation", "hint"), [*dict(HINTS.values()).items(), *MORE.items()])
def test_fit_never_accepts_a_wrong_type(annotation, hint):
    accepted = []

    @settings(derandomize=True)
    @given(PLAIN)
    def law(value):
        try:
            found = fit(value, annotation)
        except TypeError:
            return
        accepted.append(found)
        assert is_of(found, hint)
        assert as_lists(found) == as_lists(value)

    law()
    assert accepted or "Literal" in annotation  # the law is not empty


@given(PLAIN)
def test_a_setting_of_any_value_makes_a_recipe_or_is_refused(value):
    for key in ("features", "seeds", "train", "train.epochs", "train.head_lr", "cache.use", "cache.folder"):
        try:
            made = make(nested(**{key: value}))
        except RecipeError:
            continue
        assert replace(made) == made
        assert make(recipe_.tomllib.loads(dumps(made))).digest == made.digest


def test_candidates_replace_a_method():
    settings = {name: value for name, value in NOUNS.items() if name != "method"}
    found = make(settings | {"search": {"candidates": ["lora", "bitfit"], "rungs": [0.1, 0.5], "rates": [1, 3]}})
    assert found.method == "" and found.search == Search(("lora", "bitfit"), (0.1, 0.5), "dev", (1.0, 3.0))
    assert make(tomllib.loads(dumps(found))) == found


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ({"candidates": ["lora"]}, "not both"),
        ({"rungs": [0.2]}, "without candidates"),
        ({"candidates": ["lora", "lora"], "method": ""}, "two of them are the same"),
        ({"candidates": ["lora", "lor"], "method": ""}, "unknown name 'lor'"),
        ({"candidates": ["lora"], "method": "", "rungs": [0.2, 0.1]}, "growing shares"),
        ({"candidates": ["lora"], "method": "", "rungs": [0.0]}, "growing shares"),
        ({"candidates": ["lora"], "method": "", "rungs": []}, "growing shares"),
        ({"candidates": ["lora"], "method": "", "rates": [0.0]}, "distinct positive"),
        ({"candidates": ["lora"], "method": "", "clips": -1}, "a number of validation clips"),
        ({"candidates": ["lora"], "method": "", "clips": 9, "observe": "loss"}, "looks at no validation clip"),
        ({"candidates": ["lora"], "method": "", "observe": "test"}, "'dev' or 'dev_loss' or 'loss'"),
    ],
)
def test_a_search_that_makes_no_sense_is_refused(search, message):
    changes = {"method": search.pop("method")} if "method" in search else {}
    with pytest.raises(RecipeError, match=message):
        make(dict(NOUNS) | changes | {"search": search})
