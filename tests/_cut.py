"""A run that is interrupted, and taken up again, beside the same run in one go."""

from pathlib import Path
from typing import Any

import pytest
import torch

import pegbox
from pegbox.surgery import read_tensors
from pegbox.training.loop import Step


def ends_with_the_same_numbers(settings: dict[str, Any], folder: Path, step: int) -> None:
    """Fails where a run that was interrupted after a step ends with other scores or other trained numbers."""
    whole = pegbox.train(settings, folder / "whole")

    def stop(event: Any, _: Path) -> None:
        if isinstance(event, Step) and event.step == step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pegbox.train(settings, folder / "cut", stop)
    assert pegbox.train(settings, folder / "cut")["scores"] == whole["scores"]
    first, second = (read_tensors(folder / name / "delta.safetensors")[0] for name in ("whole", "cut"))
    assert all(torch.equal(first[name], second[name]) for name in first)
