"""What stands beside the network and reads its hidden states: narrow maps, or bottlenecks, one a state."""

from torch import Tensor, nn
from torch.nn import functional as F

from pegbox.errors import RecipeError
from pegbox.methods._gate import Gate
from pegbox.sites import Edit, Side, Sites, beside


def layer_adapters(name: str, sites: Sites, size: int) -> Edit:
    """Returns the L-adapters of a network (Otake et al., 2023, arXiv:2212.02780)."""
    if size < 1:
        raise RecipeError(f"{name}: an L-adapter of size {size}; at least 1, the authors use 512")
    return beside(Layers(sites.width, size, sites.depth))


def inter_adapters(name: str, sites: Sites, size: int, gated: bool = False) -> Edit:
    """Returns a bottleneck a hidden state (Sang, Hansen, 2024, arXiv:2403.00293), each behind a gate if wished."""
    if not 1 <= size <= sites.width:
        raise RecipeError(f"{name}: a bottleneck of size {size} on hidden states; from 1 to the width {sites.width}")
    return beside(Bottlenecks(sites.width, size, sites.depth + 1, gated))


class Layers(Side):
    """One map a block, from a start near zero, and its norm."""

    def __init__(self, width: int, size: int, depth: int) -> None:
        super().__init__(size, depth)
        self.maps = nn.ModuleList(nn.Linear(width, size) for _ in range(depth))
        self.norms = nn.ModuleList(nn.LayerNorm(size) for _ in range(depth))
        for linear in self.maps:
            nn.init.normal_(linear.weight, std=1e-3)  # type: ignore[arg-type]
            nn.init.zeros_(linear.bias)  # type: ignore[arg-type]

    def forward(
        self, states: list[Tensor], mask: Tensor | None
    ) -> list[Tensor]:  # depth + 1 times (batch, time, width), (batch, time)
        """Returns `depth` states, each (batch, time, size)."""
        each = zip(self.norms, self.maps, states[1:], strict=True)
        return [norm(F.gelu(linear(state))) for norm, linear, state in each]


class Bottlenecks(Side):
    """One bottleneck a hidden state; identity at the start (up = 0)."""

    def __init__(self, width: int, size: int, count: int, gated: bool) -> None:
        super().__init__(width, count)
        self.down = nn.ModuleList(nn.Linear(width, size) for _ in range(count))
        self.up = nn.ModuleList(nn.Linear(size, width) for _ in range(count))
        self.gates = nn.ModuleList(Gate(width) for _ in range(count if gated else 0))
        for linear in self.up:
            nn.init.zeros_(linear.weight)  # type: ignore[arg-type]
            nn.init.zeros_(linear.bias)  # type: ignore[arg-type]

    def forward(
        self, states: list[Tensor], mask: Tensor | None
    ) -> list[Tensor]:  # depth + 1 times (batch, time, width), (batch, time)
        """Returns as many states, of the same width."""
        added = [up(down(x).relu()) for x, down, up in zip(states, self.down, self.up, strict=True)]
        if len(self.gates):
            added = [gate(x, mask) * each for gate, x, each in zip(self.gates, states, added, strict=True)]
        return [x + each for x, each in zip(states, added, strict=True)]
