"""What an interrupted run needs to end with the same numbers: tensors, optimiser, random state and place."""

import json
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from pegbox.surgery import read_tensors, save_tensors
from pegbox.training import optim
from pegbox.training.loop import Progress, Trainer


def save(trainer: Trainer, path: Path) -> None:
    """Writes the state whole or not at all."""
    tensors = {
        **_under("model", trainer.model.tensors()),
        **_under("best", trainer.best),
        **_under("optimizer", optim.optimizer_tensors(trainer.optimizer)),
        **_under("random", random_state()),
    }
    save_tensors(path, tensors, {"progress": json.dumps(asdict(trainer.progress))})


def restore(trainer: Trainer, path: Path) -> None:
    """Takes the state back into a freshly made trainer of the same recipe."""
    take_over(trainer, *read_tensors(path))


def left(path: Path) -> tuple[dict[str, Tensor], dict[str, object]] | None:
    """Returns the state that an interruption has left in a file, if any."""
    return read_tensors(path) if path.exists() else None


def take_over(trainer: Trainer, tensors: dict[str, Tensor], about: dict[str, object]) -> None:
    """Takes over a state that has been read."""
    trainer.model.load_tensors(_part("model", tensors))
    trainer.best = _part("best", tensors)
    optim.restore_optimizer(trainer.optimizer, _part("optimizer", tensors))
    set_random(_part("random", tensors))
    trainer.progress = Progress(**json.loads(str(about["progress"])))


def set_random(state: dict[str, Tensor]) -> None:
    """Takes a random state back."""
    torch.set_rng_state(state["cpu"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])


def random_state() -> dict[str, Tensor]:
    """Returns the random state of torch on this process's devices."""
    cuda = {"cuda": torch.cuda.get_rng_state()} if torch.cuda.is_available() else {}
    return {"cpu": torch.get_rng_state()} | cuda


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}/{name}": tensor for name, tensor in tensors.items()}


def _part(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.partition("/")[2]: tensor for name, tensor in tensors.items() if name.startswith(f"{prefix}/")}
