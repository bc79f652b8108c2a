"""Methods: one file each, a pure plan of edits at sites."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from pegbox import registry
from pegbox.delta import Term
from pegbox.errors import RecipeError
from pegbox.sites import Edit, Sites


class Method(Protocol):
    """What a method file must offer; it may also set the class variables `features` and `learning_rate`."""

    def plan(self, sites: Sites) -> Iterator[Edit]:
        """Yields edits, touching no weights."""


@dataclass(frozen=True)
class Chosen:
    """One method of a union, with the range of blocks that it may see."""

    name: str
    method: Method
    blocks: str

    @property
    def learning_rate(self) -> float:
        """The method's own peak rate, for recipes that set none."""
        return float(getattr(self.method, "learning_rate", 1e-3))

    @property
    def features(self) -> str | None:
        """The features that the method stands for, if it does (`linear_probe`, `weighted_sum`)."""
        return getattr(self.method, "features", None)


def parse(spec: str, where: str = "method") -> tuple[Chosen, ...]:
    """Returns the methods of a union such as `lora(rank=8) + bitfit(blocks="6:")`, with names made distinct."""
    chosen: list[Chosen] = []
    for call in registry.parse(spec, where):
        options: dict[str, Any] = registry.check("methods", call, where)
        again = sum(call.name == other.name.partition("-")[0] for other in chosen)
        name = call.name if not again else f"{call.name}-{again + 1}"
        chosen.append(Chosen(name, registry.build("methods", call, where), options.get("blocks", ":")))
    return tuple(chosen)


def plan(methods: tuple[Chosen, ...], sites: Sites) -> tuple[Term, ...]:
    """Returns what each method means on these sites."""
    return tuple(Term(each.name, _edits(each, sites)) for each in methods)


def _edits(each: Chosen, sites: Sites) -> tuple[Edit, ...]:
    edits = tuple(each.method.plan(sites.within(each.blocks)))
    inside = any(edit.site is not None and edit.site.block is not None for edit in edits)
    if not edits and each.features is None:
        raise RecipeError(f"{each.name}: none of the sites that it was given can be edited; see its option 'at'")
    if each.blocks != ":" and not inside:
        raise RecipeError(f"{each.name}(blocks={each.blocks!r}): this method edits no block, a range has no effect")
    return edits


__all__ = ["Chosen", "Method", "parse", "plan"]
