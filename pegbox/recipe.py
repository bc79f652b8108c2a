"""Recipe: one backbone, method, task and corpus, and how to train. A TOML file, flags and Python are the same thing."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, Literal

import tomlkit

from pegbox import registry
from pegbox.errors import RecipeError, nearest

_YOUNGER: Final = (
    *(("", name) for name in ("gain", "silence")),
    *(("search", name) for name in ("minutes", "clips")),
    *(("train", name) for name in ("mask_bands", "mask_frames", "balanced", "head_epochs", "longer_than")),
    ("train", "checkpointing"),
)
_MOST: Final = 10**12  # of any count or seed: beyond it nothing is meant, and machine numbers end
_LOUDEST: Final = 100  # dB: beyond it nothing is heard


@dataclass(frozen=True)
class Train:
    """How to train. Rates are AdamW's peak rates; `delta_lr = 0` takes each method's own."""

    epochs: int = 30
    steps: int = 0  # 0: as many as the epochs have
    head_epochs: int = 0  # in which head and layer weights are trained alone before; 0: all start together
    batch_seconds: float = 32.0  # of padded audio a batch
    batch_clips: int = 32
    crop: float = 0.0  # seconds of a longer training clip that are heard, another part each epoch; 0: all
    longer_than: float = 0.0  # seconds: training clips that are not are left out; 0: none
    mixup: float = 0.0  # chance of a training clip to be heard as a sum with another, with a share of its labels
    mask_bands: int = 0  # bands of a training clip's spectrogram that are silent: fewer than these, others each epoch
    mask_frames: int = 0  # frames likewise
    balanced: bool = False  # as many training clips as there are, drawn evenly over the classes, some of them twice
    accumulate: int = 1
    head_lr: float = 1e-3
    layers_lr: float = 1e-2
    delta_lr: float = 0.0
    rate: float = 1.0  # multiple of the methods' rates, or of all where no method trains anything
    optimizer: Literal["adamw", "adam", "childnet_adamw"] = "adamw"
    betas: tuple[float, ...] = (0.9, 0.999)
    eps: float = 0.0  # 0: the optimizer's own
    weight_decay: float = 0.01
    warmup: float = 0.1  # share of all steps
    hold: float = 0.0  # share of all steps at the peak, before the decline
    schedule: Literal["constant", "linear", "cosine"] = "linear"
    milestones: tuple[int, ...] = ()  # after so many epochs the rate is multiplied by `decay` once more
    decay: float = 0.1
    clip: float = 1.0
    precision: Literal["fp32", "bf16"] = "fp32"
    checkpointing: bool = False  # blocks that are trained keep no activations: computed again for the gradient
    validate_epochs: int = 1
    validate_steps: int = 0  # 0: by epochs
    patience: int = 0  # validations without a better score before stopping; 0: never

    def __post_init__(self) -> None:
        _fit_types(self, "train.")


@dataclass(frozen=True)
class Cache:
    """The frozen part, computed once: whether, how much, and where (empty: the user's cache folder)."""

    use: bool = True
    limit_gb: float = 8.0
    folder: str = ""

    def __post_init__(self) -> None:
        _fit_types(self, "cache.")


@dataclass(frozen=True)
class Search:
    """A competition of methods instead of one (AD-TUNING, doi:10.21437/Interspeech.2023-1167).

    All `candidates` train on the same batches; at each of the `rungs`, shares of the whole training, half of them are
    dropped, at the last all but the best, which goes on. They are judged by the task's score on the validation split
    ("dev"), by their loss on it ("dev_loss"), which tells more where few clips saturate the score, or by the smoothed
    training loss ("loss"); `clips` above 0: on so many clips of that split, the same for all, drawn by the seed.
    `rates`: multiples of each method's rate, as candidates of their own.
    `minutes` above 0: training is over when so many have gone by, if not earlier; shares of it are then shares of them.
    """

    candidates: tuple[str, ...] = ()
    rungs: tuple[float, ...] = (0.1,)
    observe: Literal["dev", "dev_loss", "loss"] = "dev"
    rates: tuple[float, ...] = (1.0,)
    minutes: float = 0.0
    clips: int = 0

    def __post_init__(self) -> None:
        _fit_types(self, "search.")


@dataclass(frozen=True)
class Recipe:
    """Everything that defines an experiment. `features` is what the head reads: the trained layer sum, the last
    hidden state, or the k-th; "auto" is what the method stands for, else "weighted". Each fold is tested in turn."""

    backbone: str
    method: str
    task: str
    corpus: str
    features: Literal["auto", "weighted", "last"] | int = "auto"
    seeds: tuple[int, ...] = (0,)
    folds: tuple[int, ...] = ()
    gain: float = 0.0  # dB by which every clip is heard louder than its file is
    silence: float = 0.0  # percent of full scale: what is quieter for 0.1 s is cut out of every clip; 0: nothing
    train: Train = field(default_factory=Train)
    search: Search = field(default_factory=Search)
    cache: Cache = field(default_factory=Cache)

    def __post_init__(self) -> None:
        _fit_types(self, "")
        _check_specs(self)
        _check_numbers(self)

    @property
    def digest(self) -> str:
        """The identity of the experiment: every setting but those of the cache, which change no result."""
        settings = asdict(replace(self, cache=Cache()))
        for part, name in _YOUNGER:  # than others: recipes without them keep their identity
            place = settings[part] if part else settings
            if not place[name]:
                del place[name]
        return blake2b(tomlkit.dumps(plain(settings)).encode(), digest_size=8).hexdigest()


def make(settings: Mapping[str, Any]) -> Recipe:
    """Returns the recipe of nested plain settings; every key and type is checked."""
    if settings.get("search"):
        settings = {"method": "", **settings}
    missing = [name for name in ("backbone", "method", "task", "corpus") if name not in settings]
    if missing:
        raise RecipeError(f"the recipe lacks {', '.join(missing)}; give them in the file or as --{missing[0]} …")
    return _build(Recipe, settings, "")  # type: ignore[no-any-return]


def read(path: str | Path) -> dict[str, Any]:
    """Returns the settings of a TOML file, unchecked."""
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RecipeError(f"{path}: no such recipe file") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as problem:
        raise RecipeError(f"{path}: not a readable TOML recipe: {problem}") from None


def override(settings: Mapping[str, Any], changes: Iterable[str]) -> dict[str, Any]:
    """Returns settings with `train.epochs=5`-like changes; the right side is a TOML value, or text as it is."""
    result = {key: dict(value) if isinstance(value, Mapping) else value for key, value in settings.items()}
    for change in changes:
        path, equals, text = change.partition("=")
        if not equals:
            raise RecipeError(f"--set {change}: write it as key=value, for example train.epochs=5")
        *outer, last = path.strip().split(".")
        place = result
        for key in outer:
            place = place.setdefault(key, {})
            if not isinstance(place, dict):
                raise RecipeError(f"--set {change}: '{key}' is a value, not a table")
        place[last] = _toml_value(text.strip())
    return result


def dumps(recipe: Recipe) -> str:
    """Returns the fully resolved recipe as TOML."""
    return tomlkit.dumps(plain(asdict(recipe)))


def _toml_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _build(kind: Any, settings: Mapping[str, Any], where: str) -> Any:
    known = [each.name for each in fields(kind)]
    for key in settings:
        if key not in known:
            raise RecipeError(f"recipe: unknown setting '{where}{key}'{nearest(key, known)}")
    return kind(**settings)


def _fit_types(part: Recipe | Train | Cache | Search, where: str) -> None:
    """Brings every setting into its declared type, so that Python means what a TOML file means."""
    for each in fields(part):
        object.__setattr__(part, each.name, _value(each.type, getattr(part, each.name), where + each.name))


def _value(annotation: Any, value: Any, where: str) -> Any:
    section = {"Train": Train, "Cache": Cache, "Search": Search}.get(annotation)
    if section is not None:
        if not isinstance(value, section | Mapping):
            raise RecipeError(f"recipe: '{where}' is a table of settings, found {value!r}")
        return _build(section, value, f"{where}.") if isinstance(value, Mapping) else value
    try:
        return registry.fit(value, annotation)
    except (TypeError, OverflowError) as problem:
        raise RecipeError(f"recipe: '{where}': {problem}") from None


def plain(value: Any) -> Any:
    """Returns settings as TOML knows them: lists instead of tuples."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def _check_specs(recipe: Recipe) -> None:
    if recipe.search.candidates and recipe.method:
        raise RecipeError("recipe: give a method, or candidates to search; not both")
    if not recipe.search.candidates and recipe.search != Search():
        raise RecipeError("recipe: search has settings without candidates; they would have no effect")
    for spec in recipe.search.candidates or (recipe.method,):
        for call in registry.parse(spec, "method"):
            registry.check("methods", call, "method")
    for name, kind in (("task", "tasks"), ("corpus", "corpora")):
        calls = registry.parse(getattr(recipe, name), name)
        if len(calls) != 1:
            raise RecipeError(f"{name}: exactly one, found {len(calls)} in {getattr(recipe, name)!r}")
        registry.check(kind, calls[0], name)


def _check_numbers(recipe: Recipe) -> None:
    train, cache = recipe.train, recipe.cache
    positive = (
        "epochs",
        "batch_seconds",
        "batch_clips",
        "accumulate",
        "head_lr",
        "layers_lr",
        "clip",
        "rate",
        "validate_epochs",
    )
    wrong = [f"train.{name}={getattr(train, name)}" for name in positive if not getattr(train, name) > 0]
    heard = ("crop", "longer_than", "mask_bands", "mask_frames")
    rest = ("steps", "head_epochs", "delta_lr", "eps", "weight_decay", "hold", "validate_steps", "patience")
    wrong += [f"train.{name}={getattr(train, name)}" for name in (*heard, *rest) if not getattr(train, name) >= 0]
    if wrong:
        raise RecipeError(f"recipe: {', '.join(wrong)}: must be positive (or zero where that has a meaning)")
    endless = [each.name for each in fields(train) if each.type == "int" and getattr(train, each.name) > _MOST]
    if endless:
        raise RecipeError(f"recipe: train.{endless[0]}: at most {_MOST}")
    if not 0 <= train.mixup <= 1:
        raise RecipeError(f"recipe: train.mixup={train.mixup}: a chance, from 0 to 1")
    _check_course(train)
    _check_search(recipe.search)
    if cache.limit_gb < 0:
        raise RecipeError(f"recipe: cache.limit_gb={cache.limit_gb}: must not be negative")
    if not abs(recipe.gain) <= _LOUDEST:
        raise RecipeError(f"recipe: gain={recipe.gain}: decibels, from -{_LOUDEST} to {_LOUDEST}")
    if not 0 <= recipe.silence < 100:
        raise RecipeError(f"recipe: silence={recipe.silence}: percent of full scale, from 0 to below 100; SUPERB: 0.1")
    for name in ("seeds", "folds"):
        values = getattr(recipe, name)
        if len(set(values)) < len(values) or (name == "seeds" and not values):
            raise RecipeError(f"recipe: {name}={list(values)}: distinct numbers, and at least one seed")
        if any(abs(value) > _MOST for value in values):
            raise RecipeError(f"recipe: {name}={list(values)}: numbers up to {_MOST}")


def _check_course(train: Train) -> None:
    if not 0 <= train.warmup <= 1:
        raise RecipeError(f"recipe: train.warmup={train.warmup}: a share of all steps, from 0 to 1")
    if train.warmup + train.hold > 1 or (train.hold and train.schedule == "constant"):
        raise RecipeError(f"recipe: train.hold={train.hold}: a share of all steps between warmup and a decline")
    epochs = list(train.milestones)
    if epochs != sorted({*epochs}) or min([1, *epochs]) < 1 or not 0 < train.decay <= 1:
        raise RecipeError(f"recipe: train.milestones={epochs}: growing epochs from 1 on, and a train.decay up to 1")
    if len(train.betas) != 2 or not all(0 <= beta < 1 for beta in train.betas):
        raise RecipeError(f"recipe: train.betas={list(train.betas)}: two numbers from 0 up to, not including, 1")


def _check_search(search: Search) -> None:
    rungs, rates = list(search.rungs), list(search.rates)
    if not rungs or rungs != sorted(set(rungs)) or not 0 < rungs[0] <= rungs[-1] <= 1:
        raise RecipeError(f"recipe: search.rungs={rungs}: growing shares of all steps, above 0 and up to 1")
    if not rates or min(rates) <= 0 or len(set(rates)) < len(rates):
        raise RecipeError(f"recipe: search.rates={rates}: distinct positive multiples of a method's rate")
    if not 0 <= search.clips <= _MOST:
        raise RecipeError(f"recipe: search.clips={search.clips}: a number of validation clips, or 0 for all")
    if search.clips and search.observe == "loss":
        raise RecipeError('recipe: search.clips: observe="loss" looks at no validation clip; leave it 0')
    if not 0 <= search.minutes < math.inf:
        raise RecipeError(f"recipe: search.minutes={search.minutes}: a number of minutes, or 0 for no limit")
    if len(set(search.candidates)) < len(search.candidates):
        raise RecipeError("recipe: search.candidates: two of them are the same")
