"""What a synthesis run asks beside its own network, by content: a vocoder, a voice, a tokenizer, finished runs."""

from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path

from pegbox.errors import WeightsError


class Beside:
    """The digests of what a run asks, each of which must be the one of before where the run has been kept."""

    def __init__(self, known: Mapping[str, str]) -> None:
        self._known, self.digests = known, dict[str, str]()

    def take(self, name: str, digest: str, where: str) -> None:
        """Notes what is asked by that name.

        Raises:
            WeightsError: the run was judged, or trained, with another one.
        """
        before = self._known.get(name, digest)
        if digest != before:
            raise WeightsError(
                f"{where}: the run was made with a {name} of digest {before}, and here is {digest}: it is another one; "
                "put the former back or train anew"
            )
        self.digests[name] = digest


def digest_of(file: Path) -> str:
    """Returns the identity of a file's bytes."""
    return blake2b(file.read_bytes(), digest_size=16).hexdigest()
