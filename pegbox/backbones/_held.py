"""Every tensor of a network with its place, also where no site is: children choose among them, and some methods."""

from collections.abc import Iterator, Mapping

from torch import nn

from pegbox.backbones._family import Family, Where
from pegbox.backbones._synthesis import Synthesis
from pegbox.sites import Site


def held(table: Family | Synthesis, core: nn.Module) -> Iterator[tuple[Site, str]]:
    """Yields every tensor of the blocks, in the core's order, and in a fold what it reads outside them.

    What is outside has no home, and counts as of the last block where it stands behind that.
    """
    lists = [(stack, list(core.get_submodule(stack.blocks).children())) for stack in table.stacks]
    blocks = [(stack, number, block) for stack, own in lists for number, block in enumerate(own)]
    homes = {
        f"{stack.blocks}.{inner}": (number, block, stack.label(inner))
        for number, (stack, inner, block) in enumerate(blocks)
    }
    convolutions = _convolutions(table.stem_roles(core)) if isinstance(table, Family) else {}
    after = False  # whether the blocks have been passed
    for path, owner in core.named_modules():
        home = next((name for name in homes if _within(path, name)), None)
        after = after or home is not None
        number, block, label = homes[home] if home else (len(blocks) - 1 if after else None, None, "")
        if home is None and isinstance(table, Synthesis):
            continue
        place = Site(
            role=path.removeprefix(f"{home}.") if home else _role(path, convolutions),
            block=number,
            entry=owner,
            exit=owner,
            place="output",
            owner=owner,
            input_width=0,
            output_width=0,
            home=block,
            label=label,
        )
        for tensor, _ in owner.named_parameters(recurse=False):
            if isinstance(table, Synthesis) or table.reads(f"{path}.{tensor}"):
                yield place, tensor


def _convolutions(stem: Mapping[str, Where]) -> dict[str, str]:
    """Returns the roles of a front-end's convolutions, by the path of each one's module."""
    convolutions = {role: where for role, where in stem.items() if role.partition(".")[0] == "conv"}
    return {where if isinstance(where, str) else getattr(where, "module", ""): r for r, where in convolutions.items()}


def _role(path: str, convolutions: Mapping[str, str]) -> str:
    """Returns `conv.0.layer_norm` for what lies in a convolution of the stem, else the path itself."""
    inside = next((own for own in convolutions if _within(path, own)), None)
    return path if inside is None else convolutions[inside] + path.removeprefix(inside)


def _within(path: str, name: str) -> bool:
    return path == name or path.startswith(f"{name}.")
