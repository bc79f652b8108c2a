"""The time that a contest may take: a share of it has gone by, the same for all entrants and in all processes."""

from collections.abc import Callable
from dataclasses import dataclass

from pegbox.training.crew import Crew

Time = Callable[[], float]  # seconds that only grow


@dataclass
class Allowance:
    """Seconds that may pass, 0 for no limit; those before an interruption count, the time until a resume does not."""

    seconds: float
    clock: Time
    crew: Crew
    spent: float = 0.0
    _last: float | None = None  # when the clock was read last

    def start(self, before: float) -> None:
        """Lets time count from now on, after so many seconds that an earlier process has spent."""
        self.spent, self._last = before, None
        self.look()

    def look(self) -> None:
        """Reads the clock. Between two looks the share stands still, so that entrants take their turns alike."""
        if not self.seconds:
            return
        now = self.crew.once(self.clock)
        self.spent += 0.0 if self._last is None else now - self._last
        self._last = now

    def passed(self) -> float:
        """Returns the share that had gone by when the clock was read last; more than 1 when it is used up."""
        return self.spent / self.seconds if self.seconds else 0.0
