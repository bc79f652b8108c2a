"""Methods: one file each, a pure plan of edits at sites."""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from pegbox import registry
from pegbox.delta import Term
from pegbox.errors import RecipeError
from pegbox.importance import Decided, Probe
from pegbox.recipe import Search
from pegbox.sites import Edit, Sites


class Method(Protocol):
    """What a method file must offer; it may also set the class variables `features` and `learning_rate`."""

    def plan(self, sites: Sites) -> Iterator[Edit]:
        """Yields edits, touching no weights."""


@runtime_checkable
class Deciding(Protocol):
    """A method that chooses by weights or data before it plans; an artefact stores its choice."""

    @property
    def needs_data(self) -> bool:
        """Whether the choice needs gradients of the task."""

    @property
    def basis(self) -> Hashable:
        """What the choice is made by: methods of candidates that have it in common decide together."""

    def decide(self, sites: Sites, probe: Probe | None, rivals: Sequence[Any]) -> list[Decided]:
        """Returns the choice of each of these methods of one basis, this one's own among them."""

    def settle(self, sites: Sites, choice: Mapping[str, Tensor]) -> Iterator[Edit]:
        """Yields the edits of a choice."""


@runtime_checkable
class Searching(Protocol):
    """A method that stands for a competition of others."""

    def search(self, sites: Sites, size: Callable[[str], int], whole: int) -> Search:
        """Returns the competition on these sites; `size` counts what a method would train of the `whole` network."""


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


def plan(
    methods: tuple[Chosen, ...], sites: Sites, choices: Mapping[str, Mapping[str, Tensor]] | None = None
) -> tuple[Term, ...]:
    """Returns what each method means on these sites; `choices` holds what deciding methods chose, by name."""
    return tuple(Term(each.name, _edits(each, sites, choices or {})) for each in methods)


def decide(unions: Mapping[str, tuple[Chosen, ...]], sites: Sites, probe: Probe) -> dict[str, dict[str, Decided]]:
    """Returns what the deciding methods of some unions choose, by union and method; each basis is measured once."""
    found: dict[str, dict[str, Decided]] = {name: {} for name in unions}
    for group in _rivals(unions):
        method, blocks = group[0][1].method, group[0][1].blocks
        assert isinstance(method, Deciding)
        probed = probe if method.needs_data else None
        decided = method.decide(sites.within(blocks), probed, [each.method for _, each in group])
        for (name, each), one in zip(group, decided, strict=True):
            found[name][each.name] = one
    return found


def _rivals(unions: Mapping[str, tuple[Chosen, ...]]) -> list[list[tuple[str, Chosen]]]:
    """Returns deciding methods, with their union's name, in groups of the same blocks and basis."""
    groups: dict[tuple[str, Hashable], list[tuple[str, Chosen]]] = {}
    for name, union in unions.items():
        for each in union:
            if isinstance(each.method, Deciding):
                groups.setdefault((each.blocks, each.method.basis), []).append((name, each))
    return list(groups.values())


def _edits(each: Chosen, sites: Sites, choices: Mapping[str, Mapping[str, Tensor]]) -> tuple[Edit, ...]:
    within = sites.within(each.blocks)
    if each.name in choices and isinstance(each.method, Deciding):
        edits = tuple(each.method.settle(within, choices[each.name]))
    else:
        edits = tuple(each.method.plan(within))
    inside = any(edit.site is not None and edit.site.block is not None for edit in edits)
    if not edits and each.features is None:
        raise RecipeError(f"{each.name}: none of the sites that it was given can be edited; see its option 'at'")
    if each.blocks != ":" and not inside:
        raise RecipeError(f"{each.name}(blocks={each.blocks!r}): this method edits no block, a range has no effect")
    return edits


__all__ = ["Chosen", "Deciding", "Method", "Searching", "decide", "parse", "plan"]
