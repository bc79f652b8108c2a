"""The voice from which a synthesis network is tuned: a number, or that whose loss is lowest on training clips."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from _cut import ends_with_the_same_numbers
from _speaker import save_speaker, save_units
from safetensors.torch import load_file, save_file

import pegbox
from pegbox.backbones import Speaker
from pegbox.progress import print_result
from pegbox.recipe import make
from pegbox.run import open_model, speaking
from pegbox.surgery import read_tensors
from pegbox.training.feed import Feed
from pegbox.training.session import Session
from pegbox.training.speaking import Speaking

pytestmark = pytest.mark.skipif(not find_spec("pyworld"), reason="pyworld is not installed: pegbox[speech]")


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two voices, of which the second happens to be nearer to the clips."""
    folder = save_speaker(tmp_path_factory.mktemp("network"))
    tensors = load_file(folder / "model.safetensors")
    (name,) = (name for name in tensors if "speaker" in name and tensors[name].shape[0] == 2)
    far = 40.0 * torch.randn(tensors[name].shape[1], generator=torch.Generator().manual_seed(0))
    tensors[name] = torch.stack([tensors[name][1], far])
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    return folder


@pytest.fixture(scope="module")
def units(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_units(tmp_path_factory.mktemp("units"))


def settings_of(network: Path, units: Path, task: str = "synthesize", **changes: Any) -> dict[str, Any]:
    made = {"backbone": str(network), "method": "bitfit", "task": task, "corpus": f'manifest(path="{units}")'}
    return made | {"train": {"epochs": 2, "batch_clips": 4}} | changes


def loss_of(settings: dict[str, Any], count: int) -> float:
    session = Session(make(settings))
    data = session.data(None)
    model = session.model(make(settings), data, 0, None)
    assert isinstance(model.backbone, Speaker)
    with torch.no_grad():
        loss = float(Speaking(model, model.backbone, Feed(model.backbone, None)).loss(data.rows["train"][:count]))
    model.delta.detach()
    return loss


def test_the_nearest_voice_is_that_of_the_lowest_loss(network: Path, units: Path) -> None:
    losses = [loss_of(settings_of(network, units, f"synthesize(voice={voice})"), 8) for voice in (0, 1)]
    assert losses[1] < losses[0]
    assert loss_of(settings_of(network, units), 8) == losses[1]
    assert Session(make(settings_of(network, units))).data(None).found == {"voice": 1}
    assert Session(make(settings_of(network, units, "synthesize(voice=0)"))).data(None).found == {}


def test_a_run_from_the_nearest_voice_is_that_from_its_number_and_keeps_it(
    network: Path, units: Path, tmp_path: Path
) -> None:
    named, nearest = settings_of(network, units, "synthesize(voice=1)"), settings_of(network, units)
    one, other = pegbox.train(named, tmp_path / "named"), pegbox.train(nearest, tmp_path / "nearest")
    assert one["scores"] == other["scores"] and other["chosen"] == {"voice": 1} and one["chosen"] == {}
    tensors = [read_tensors(tmp_path / name / "delta.safetensors")[0] for name in ("named", "nearest")]
    assert all(torch.equal(tensors[0][name], tensors[1][name]) for name in tensors[0])
    run = pegbox.load(tmp_path / "nearest")
    assert run.evaluate() == other["scores"]["test"]
    model = open_model(run)
    assert speaking(model).task.voice == 1


def test_a_resumed_run_has_the_same_voice(network: Path, units: Path, tmp_path: Path) -> None:
    settings = settings_of(network, units, train={"validate_steps": 2, "epochs": 4, "batch_clips": 4})
    ends_with_the_same_numbers(settings, tmp_path, step=3)


def test_candidates_of_a_search_share_the_voice(network: Path, units: Path, tmp_path: Path) -> None:
    search = {"candidates": ["bitfit", "lora(rank=2)"], "rungs": [0.5]}
    settings = settings_of(network, units, search=search)
    del settings["method"]
    assert pegbox.train(settings, tmp_path / "run")["chosen"] == {"voice": 1}


def test_show_tells_the_voice(network: Path, units: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = pegbox.train(settings_of(network, units), tmp_path / "run")
    print_result(result, tmp_path / "run")
    assert "chosen for the task: voice 1" in capsys.readouterr().out
