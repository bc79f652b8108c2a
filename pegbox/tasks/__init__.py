"""Tasks: one file each; head, loss, decode and score. A task knows no folder and no network."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, Protocol, runtime_checkable

from torch import Tensor, nn

from pegbox import registry
from pegbox.tasks._speech_scores import Heard

__all__ = [
    "Aligns",
    "Asks",
    "Cuts",
    "Heard",
    "Hears",
    "Labels",
    "Mixes",
    "Paced",
    "Pairs",
    "Peeks",
    "Prediction",
    "Reads",
    "Searches",
    "Sorts",
    "Speaks",
    "Task",
    "Timed",
    "Tunes",
    "Vocodes",
    "Writes",
    "build",
    "tuned",
]

Labels = Mapping[str, str]
Prediction = dict[str, Any]


class Task(Protocol):
    """What a task file must offer; beside it `Hears`, or `Speaks` where the network makes speech of text."""

    @property
    def metric(self) -> str:
        """The score by which the best step is chosen on the validation split."""

    @property
    def better(self) -> Literal["max", "min"]:
        """Which direction of that score is better."""

    @property
    def framewise(self) -> bool:
        """Whether the task needs a time axis."""

    @property
    def pools(self) -> bool:
        """Whether the head is linear around mean pooling, so that one mean vector a layer is enough."""

    def vocabulary(self, splits: Mapping[str, Sequence[Labels]]) -> tuple[str, ...]:
        """Returns the output units, from the training split; refuses labels that cannot be learnt."""

    def least_frames(self, labels: Labels) -> int:
        """Returns how many frames a clip with these labels needs."""

    def head(self, width: int, vocabulary: tuple[str, ...]) -> nn.Module:
        """Returns the trained head: (batch, width) of means if `pools`, else (batch, time, width), frames → logits."""

    def truth(self, labels: Labels) -> str:
        """Returns what should have been said."""

    def score(self, predictions: Sequence[Prediction]) -> dict[str, float]:
        """Returns every score of plain rows with `said` and `true`; needs no model."""


@runtime_checkable
class Hears(Protocol):
    """A task that reads an encoder's states. `frames` counts each clip's real frames, (batch,)."""

    def loss(self, logits: Tensor, frames: Tensor, labels: Sequence[Labels], vocabulary: tuple[str, ...]) -> Tensor:
        """Returns the mean loss over the clips, a scalar."""

    def decode(self, logits: Tensor, frames: Tensor, vocabulary: tuple[str, ...]) -> list[Prediction]:
        """Returns one plain row a clip with `said` and what else the task knows."""


@runtime_checkable
class Speaks(Protocol):
    """A task whose network makes speech of text, and has a loss of its own."""

    @property
    def voice(self) -> int | Literal["nearest"]:
        """Which of the network's voices speaks, before anything is tuned; "nearest" is found on training clips."""

    @property
    def embedding(self) -> str:
        """The file with the embedding that tells a network the voice, where it has no voices by number; else empty."""

    @property
    def text(self) -> str:
        """The label that a network reads which learns from texts."""

    def texts(self, splits: Mapping[str, Sequence[Labels]]) -> None:
        """Refuses clips without a text, where the network learns from those."""

    def distance(self, said: Tensor, true: Tensor) -> dict[str, float]:
        """Returns how far log-Mel frames are from those of a recording; both are (time, bands)."""

    def judge(self, said: Heard, true: Heard) -> dict[str, float]:
        """Returns how far sound is from a recording."""


@runtime_checkable
class Aligns(Protocol):
    """A task that can learn clips without the times of their units, which the network's own speech then tells."""

    @property
    def aligned_by(self) -> tuple[str, str] | None:
        """The label that holds a clip's units, and that of the text from which they are read where it is missing."""


@runtime_checkable
class Vocodes(Protocol):
    """A task whose network's frames become sound by a learnt network, where one is named."""

    @property
    def vocoder(self) -> str:
        """Its hub id or folder; empty for Griffin-Lim."""


@runtime_checkable
class Asks(Protocol):
    """A task that has finished runs of other tasks hear what its network says, once training is over."""

    @property
    def critics(self) -> Mapping[str, str]:
        """The folder of a run for each task that is asked: `verify`, `ctc`."""


@runtime_checkable
class Paced(Protocol):
    """A task that must know how long a frame is: labels have times, or only some networks will do."""

    def paced(self, seconds: float | None) -> Task:
        """Returns the task for frames of that many seconds, or for None: states that are no time axis."""


@runtime_checkable
class Timed(Protocol):
    """A task of which labels may tell times in the clip."""

    @property
    def timed(self) -> bool:
        """Whether they do."""


@runtime_checkable
class Tunes(Protocol):
    """A task of which some options are chosen on the validation split, once training is over."""

    def tune(self, predictions: Sequence[Prediction]) -> dict[str, Any]:
        """Returns the options chosen by plain rows of the validation split, as JSON can hold them."""


@runtime_checkable
class Searches(Protocol):
    """A task that may decode better, and slower, once training is over."""

    def searching(self) -> Task:
        """Returns the task as it decodes then."""


@runtime_checkable
class Reads(Protocol):
    """A task that hears, and reads files of its own to say what it heard."""

    @property
    def reads(self) -> Mapping[str, str]:
        """What they are → where they lie."""


@runtime_checkable
class Cuts(Protocol):
    """A task that hears long clips in parts, and joins what it says of them."""

    @property
    def segment(self) -> float:
        """The seconds of a part; 0 hears every clip whole."""

    def join(self, parts: Sequence[Prediction]) -> Prediction:
        """Returns what is said of a clip, of what `decode` said of its parts."""


@runtime_checkable
class Mixes(Protocol):
    """A task that can learn from the sum of two clips: its truths have a sum, too."""

    def mixed_loss(
        self,
        logits: Tensor,
        labels: Sequence[Labels],
        others: Sequence[Labels],
        shares: Tensor,  # (batch,), 0 to 1
        vocabulary: tuple[str, ...],
    ) -> Tensor:
        """Returns the mean loss over clips of which `shares` have the labels, and the rest the others'; a scalar."""


@runtime_checkable
class Sorts(Protocol):
    """A task of which every clip belongs to one class or more, so that clips can be drawn evenly over them."""

    def classes(self, labels: Labels) -> Collection[str]:
        """Returns the classes of a clip, at least one and each once."""


@runtime_checkable
class Writes(Protocol):
    """A task whose answers have a file format of their own in the field."""

    def files(self, predictions: Sequence[Prediction]) -> dict[str, str]:
        """Returns the suffix and the text of every file that a split's plain rows are written to."""


@runtime_checkable
class Pairs(Protocol):
    """A task that scores clips two by two; its rows are told the corpus's trials, if there are any."""

    @property
    def pairs(self) -> bool:
        """Whether it does so."""


@runtime_checkable
class Peeks(Protocol):
    """A task that may choose its best step by the clips that it is tested on, as the code of some papers does."""

    @property
    def peeks(self) -> bool:
        """Whether it does so; the validation clips are then trained on, and every score is too good."""


def build(spec: str) -> Task:
    """Returns the task that a spec such as `classify(label="word")` means."""
    calls = registry.parse(spec, "task")
    task: Task = registry.build("tasks", calls[0], "task")
    return task


def tuned(task: Task, options: Mapping[str, Any]) -> Task:
    """Returns a task as it is once training is over, with the options that were chosen on the validation split."""
    made: Task = replace(task, **options)  # type: ignore[type-var]
    return made.searching() if isinstance(made, Searches) else made
