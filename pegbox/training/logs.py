"""What a trial writes while it trains: `log.jsonl`, a line an event, and TensorBoard's events."""

import json
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from torch.utils.tensorboard import SummaryWriter

from pegbox.training.entrant import Tried
from pegbox.training.loop import Step, Stopped, Validated
from pegbox.training.trial import AnyEvent

LOG: Final = "log.jsonl"


class Recorder:
    """Writes one trial's events into its folder; lines after the step that a resume starts from are dropped."""

    def __init__(self, folder: Path, resumed_at: int) -> None:
        kept = [row for row in read(folder) if row["step"] <= resumed_at] if resumed_at else []
        self._log = (folder / LOG).open("w", encoding="utf-8")
        self._log.writelines(json.dumps(row) + "\n" for row in kept)
        self._board = SummaryWriter(str(folder / "events"), purge_step=resumed_at + 1 if resumed_at else None)

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._log.close()
        self._board.close()

    def listen(self, event: AnyEvent) -> None:
        """Takes one event."""
        match event:
            case Step():
                row = {"epoch": event.epoch, "loss": event.loss, "seconds": event.wall_seconds}
                self._write("step", event.step, row)
                self._board.add_scalar("train/loss", event.loss, event.step)
            case Validated():
                self._write(
                    "validated",
                    event.step,
                    {"epoch": event.epoch, "loss": event.loss, "valid_loss": event.valid_loss, "best": event.best}
                    | event.scores,
                )
                for name, value in event.scores.items():
                    self._board.add_scalar(f"valid/{name}", value, event.step)
            case Tried(candidate, method, (Step() | Validated()) as tried):
                scores = tried.scores if isinstance(tried, Validated) else {}
                self._write(
                    "tried", tried.step, {"candidate": candidate, "method": method, "loss": tried.loss, **scores}
                )
                self._board.add_scalar(f"search/{candidate}/loss", tried.loss, tried.step)
            case Stopped():
                self._write("stopped", event.step, {"best_step": event.best_step, "reason": event.reason})

    def _write(self, what: str, step: int, row: dict[str, Any]) -> None:
        self._log.write(json.dumps({"event": what, "step": step, **row}) + "\n")
        self._log.flush()


def read(folder: Path) -> list[dict[str, Any]]:
    """Returns the events of a trial's folder, whole lines only: an interruption may have cut the last."""
    path = folder / LOG
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]
