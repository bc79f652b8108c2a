"""Which blocks a text such as `6:` or `decoder.*` means."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from pegbox.errors import RecipeError

_NONE: Final[Mapping[str, range]] = MappingProxyType({})


def select_blocks(text: str, depth: int, stacks: Mapping[str, range] = _NONE) -> tuple[int, ...]:
    """Returns the block numbers that a range means: `6:` or `0,2,-1`; with stacks also `encoder.*` or `decoder.-2:`."""
    chosen: set[int] = set()
    for part in text.split(","):
        stack, named, inner = part.strip().rpartition(".")
        found = _in_range(inner, stacks.get(stack) if named else range(depth))
        if found is None:
            named_too = "".join(f", '{name}.*'" for name in stacks)
            raise RecipeError(
                f"blocks={text!r}: '{part}' is no block or range of a network with blocks 0 to {depth - 1}; "
                f"write '6:', ':4', '-2:', '3' or '0,2,5:8'{named_too}"
            )
        chosen.update(found)
    if not chosen:
        raise RecipeError(f"blocks={text!r} selects none of the blocks 0 to {depth - 1}")
    return tuple(sorted(chosen))


def _in_range(text: str, blocks: range | None) -> range | None:
    """Returns those of the blocks that a range such as `*`, `3` or `-2:` means, None where it means nothing."""
    if blocks is None:
        return None
    try:
        ends = [int(end) if end.strip() else None for end in (":" if text == "*" else text).split(":")]
    except ValueError:
        return None
    if len(ends) == 2:
        return blocks[slice(*ends)]
    alone = ends[0] if len(ends) == 1 else None
    if alone is None or not -len(blocks) <= alone < len(blocks):
        return None
    return range(blocks[alone], blocks[alone] + 1)
