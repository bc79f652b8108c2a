"""What a run asks beside its own network, by content: a vocoder, a voice, a tokenizer, finished runs, files."""

from collections.abc import Mapping
from pathlib import Path

from pegbox import places
from pegbox.errors import WeightsError
from pegbox.tasks import Reads, Task


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

    def take_files(self, task: Task) -> None:
        """Notes the files that a task reads to say what it heard.

        Raises:
            WeightsError: one is missing, or another than before.
        """
        for name, path in task.reads.items() if isinstance(task, Reads) else ():
            try:
                self.take(name, places.digest(Path(path)), path)
            except OSError as problem:
                raise WeightsError(f"{path}: the {name} cannot be read ({problem.strerror}); put it back") from None
