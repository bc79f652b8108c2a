"""What of the frozen network is computed once: for a cache on the disk, or for all candidates of one batch."""

from collections.abc import Sequence

from pegbox.backbones import Backbone, Network, Speaker
from pegbox.errors import RecipeError
from pegbox.recipe import Recipe
from pegbox.training import epochs
from pegbox.training.cache import FRONT, Kind, Layout
from pegbox.training.model import Tuned


def layout_of(recipe: Recipe, models: Sequence[Tuned], frames: Sequence[int]) -> tuple[Layout | None, int, str]:
    """Returns what to cache for all of these models, its bytes, and why in words; None: every step reads audio."""
    backbone, lowest = models[0].backbone, _lowest(models)
    if recipe.train.checkpointing and lowest is None:
        raise RecipeError(
            "train.checkpointing=true: nothing inside the network is trained, so that no block keeps anything; "
            "leave it out"
        )
    if isinstance(backbone, Speaker):
        return None, 0, "none: the network reads text"
    if not recipe.cache.use:
        return None, 0, "off by the recipe"
    pooled = lowest is None and models[0].task.pools and all(each.delta.side is None for each in models)
    found = _candidates(models, pooled)
    if not found:
        return None, 0, "none: the stem is trained"
    if changes := epochs.changing(recipe.train):
        return None, 0, f"none: {changes}"
    tried = []
    for depths in found:
        layout = stored(backbone, "front" if depths == FRONT else "pooled" if pooled else "states", depths)
        size = sum(layout.size(count) for count in frames)
        if size <= recipe.cache.limit_gb * 1e9:
            return layout, size, _named(layout)
        tried.append(f"{size / 1e9:.2f} GB")
    return None, 0, f"none: {' or '.join(tried)} is over cache.limit_gb={recipe.cache.limit_gb:g}"


def stored(backbone: Network, kind: Kind, depths: tuple[int, ...]) -> Layout:
    """Returns the layout of that kind for an encoder's clips."""
    if kind == "front":
        assert isinstance(backbone, Backbone)
        return Layout(kind, depths, backbone.family.channels(backbone.config), "fp32")
    return Layout(kind, depths, backbone.width, backbone.precision)


def _named(layout: Layout) -> str:
    if layout.kind == "front":
        return "the front-end"
    return f"{'means' if layout.kind == 'pooled' else 'states'} of depth {', '.join(map(str, layout.depths))}"


def _front_is_frozen(models: Sequence[Tuned]) -> bool:
    """Returns whether a convolution front-end stands below everything that is edited."""
    backbone = models[0].backbone
    known = isinstance(backbone, Backbone) and backbone.family.convolve is not None
    return known and not any(each.delta.convolves for each in models)


def shared_depths(models: Sequence[Tuned]) -> tuple[int, ...]:
    """Returns the hidden states that several models without a cache read below their edits; none of a trained stem."""
    if len(models) == 1 or isinstance(models[0].backbone, Speaker):
        return ()
    return next(iter(_candidates(models, False)), ())


def _lowest(models: Sequence[Tuned]) -> int | None:
    """Returns the lowest edited block of all, None where none edits any."""
    return min((each.delta.lowest for each in models if each.delta.lowest is not None), default=None)


def _candidates(models: Sequence[Tuned], pooled: bool) -> list[tuple[int, ...]]:
    """Returns the depths that may be stored, best first; means of what the way to the top passes cost next to nothing.

    With all of them stored, whatever reads up to that depth shares them. There are none where the stem is trained, but
    for what stands behind a convolution front-end.
    """
    lowest, reads = _lowest(models), sorted({depth for each in models for depth in each.reads})
    if lowest == -1:
        return [FRONT] if _front_is_frozen(models) else []
    if pooled:
        return [tuple(range(reads[-1] + 1))]
    if lowest is None:
        return [tuple(reads)]
    return [(*(d for d in reads if d < cut), cut) for cut in dict.fromkeys((lowest, 0))]
