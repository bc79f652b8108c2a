"""ELP: E-, L- and P-adapters together (Inoue et al., 2024, arXiv:2407.21066)."""

from collections.abc import Iterator
from dataclasses import dataclass

from pegbox.methods._encoder_adapter import encoder_adapters
from pegbox.methods._prompt import pseudo_features
from pegbox.methods._sides import layer_adapters
from pegbox.sites import Edit, Sites


@dataclass(frozen=True)
class ELP:
    """`e_adapter(size=encoder)`, `l_adapter(size=layer)` and `p_adapter(length=length)`. Not the identity.

    The authors also train the blocks' norms: `elp + layernorm`.
    """

    encoder: int = 256
    layer: int = 512
    length: int = 10

    def plan(self, sites: Sites) -> Iterator[Edit]:
        """Yields the pseudo features, one E-adapter a block, and the L-adapters beside the network."""
        yield from pseudo_features("elp", sites, self.length)
        yield from encoder_adapters("elp", sites, self.encoder)
        yield layer_adapters("elp", sites, self.layer)
