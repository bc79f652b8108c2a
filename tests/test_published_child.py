"""The published arithmetic of child networks, written again over dense tensors, beside the trainer's own."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import HubertConfig, HubertModel, Wav2Vec2FeatureExtractor

import pegbox
from pegbox import methods
from pegbox.importance import pack
from pegbox.recipe import Recipe, make
from pegbox.surgery import read_tensors
from pegbox.training.contest import STATES
from pegbox.training.entrant import Tried
from pegbox.training.feed import Feed
from pegbox.training.loop import Step, Trainer, Validated
from pegbox.training.prepare import assemble
from pegbox.training.session import Session

RATE = 1e-3


@dataclass
class Dense:
    """One whole tensor under the published optimiser: mask, moments, update, then decay."""

    value: Tensor
    mask: Tensor
    decay: float

    def __post_init__(self) -> None:
        self.first, self.second = torch.zeros_like(self.value), torch.zeros_like(self.value)

    def update(self, gradient: Tensor, step: int) -> None:
        """Takes one step; decay reaches masked entries in the published code, and no more than the child's here."""
        gradient = gradient * self.mask
        self.first.mul_(0.9).add_(gradient, alpha=1 - 0.9)
        self.second.mul_(0.999).addcmul_(gradient, gradient, value=1 - 0.999)
        size = RATE * math.sqrt(1 - 0.999**step) / (1 - 0.9**step)
        self.value = self.value.addcdiv(self.first, self.second.sqrt() + 1e-7, value=-size)
        if self.decay:
            self.value = torch.where(self.mask, self.value.add(self.value, alpha=-RATE * self.decay), self.value)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random HuBERT whose blocks and norms hold some 200,000 entries."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("network")
    sizes = {"hidden_size": 64, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 256}
    config = HubertConfig(**sizes, conv_dim=(8,) * 7, num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=2)
    HubertModel(config).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=False).save_pretrained(folder)
    return folder


def recipe_of(network: Path, tones: Path, method: str, **train: Any) -> Recipe:
    rates = {"head_lr": RATE, "layers_lr": RATE, "delta_lr": RATE, "optimizer": "childnet_adamw"}
    return make(settings_of(network, tones) | {"method": method, "train": rates | train})


def settings_of(network: Path, tones: Path) -> dict[str, Any]:
    corpus = f'folder(root="{tones}", valid=0.2, test=0.2)'
    return {"backbone": str(network), "task": 'classify(label="class", projection=8)', "corpus": corpus}


def trainer_of(recipe: Recipe, masks: dict[str, Tensor]) -> Trainer:
    """Returns a trainer whose child has these entries."""
    session = Session(recipe)
    packed = {name: pack(mask.reshape(-1).nonzero()[:, 0].int(), mask.numel()) for name, mask in masks.items()}
    choice = {f"{name}.low": low for name, (low, _) in packed.items()}
    choice |= {f"{name}.high": high for name, (_, high) in packed.items()}
    vocabulary = session.data(None).vocabulary
    model = assemble(recipe, session.backbone, session.task, vocabulary, {"child": choice})
    chosen = methods.parse(recipe.method)
    return Trainer(model, Feed(session.backbone, None), chosen, recipe.train, 0, session.accelerator)


def pool_of(network: Path) -> dict[str, Tensor]:
    backbone = pegbox.load_backbone(str(network))
    return {f"{s.name}:{t}".replace(".", "/"): getattr(s.owner, t).detach() for s, t in backbone.sites().pool()}


def masks_of(pool: dict[str, Tensor], share: float) -> dict[str, Tensor]:
    """Returns numpy's percentile of importances without equals."""
    numbers = np.random.default_rng(0).permutation(sum(each.numel() for each in pool.values())).astype(np.float32)
    chosen = torch.from_numpy(numbers >= np.float32(np.percentile(numbers, (1 - share) * 100)))
    parts = chosen.split([each.numel() for each in pool.values()])
    return {name: part.reshape(pool[name].shape) for name, part in zip(pool, parts, strict=True)}


def give(trainer: Trainer, gradients: dict[str, Tensor]) -> None:
    """Puts dense gradients where a backward pass would, for the head and for every tensor of the pool."""
    for name, tensor in trainer.model.trained().items():
        if not name.startswith("delta."):
            tensor.grad = gradients[name].clone()
    for key, entries in trainer.model.delta.edits.items():
        (weight,) = entries.inside
        weight.grad = gradients[key.removeprefix("child:")].clone()
        entries.gather(weight)


@pytest.mark.parametrize("decay", [0.0, 0.01])
@pytest.mark.parametrize(("share", "kept"), [(0.1, 20_008), (0.01, 2_001), (0.001, 201)])
def test_twenty_steps_equal_the_dense_code_bit_for_bit(
    share: float, kept: int, decay: float, network: Path, tones: Path
) -> None:
    pool = pool_of(network)
    count, masks = sum(each.numel() for each in pool.values()), masks_of(pool, share)
    recipe = recipe_of(network, tones, f'child(keep={share}, clip="parent")', clip=1.0, weight_decay=decay)
    trainer = trainer_of(recipe, masks)
    heads = {name: t.detach() for name, t in trainer.model.trained().items() if not name.startswith("delta.")}
    whole = {name: torch.ones_like(each, dtype=torch.bool) for name, each in heads.items()} | masks
    dense = {
        name: Dense(each.clone(), whole[name], decay if each.ndim > 1 and name != "layers" else 0.0)
        for name, each in (heads | pool).items()
    }
    torch.manual_seed(1)
    for step in range(1, 21):
        gradients = {name: torch.randn_like(each.value) for name, each in dense.items()}
        give(trainer, gradients)
        trainer._clip()
        trainer.optimizer.step()
        trainer.optimizer.zero_grad()
        # The order of a sum decides its last bit: what is trained whole first, then the pool, as the trainer has them.
        order = [*heads, *(key.removeprefix("child:") for key in trainer.model.delta.edits)]
        norm = torch.stack([gradients[name].square().sum() for name in order]).sum().sqrt()
        for name, each in dense.items():
            each.update(gradients[name] * (1.0 / (norm + 1e-6)).clamp(max=1.0), step)
    trainer.model.delta.merge()
    sites = trainer.model.backbone.sites().pool()
    after = {f"{s.name}:{t}".replace(".", "/"): getattr(s.owner, t).detach() for s, t in sites} | heads
    for name, each in dense.items():
        assert torch.equal(after[name], each.value), name
    moved = sum(int((after[name] != pool[name]).sum()) for name in pool)
    assert moved == kept == count - math.ceil((count - 1) * (1 - share))
    assert all(torch.equal(after[name][~masks[name]], pool[name][~masks[name]]) for name in pool)


@pytest.mark.parametrize(("clip", "wanted"), [("parent", 0.6), ("child", 1.0)])
def test_a_gradient_is_clipped_before_it_is_masked(clip: str, wanted: float, network: Path, tones: Path) -> None:
    """Of a gradient (3, 4) whose first entry is the child's, the norm 5 counts, as published; or its own norm, 3."""
    pool = pool_of(network)
    name, masks = next(iter(pool)), {key: torch.zeros_like(each, dtype=torch.bool) for key, each in pool.items()}
    masks[name].view(-1)[0] = True
    trainer = trainer_of(recipe_of(network, tones, f'child(keep=0.001, clip="{clip}")', clip=1.0), masks)
    gradients = {key: torch.zeros_like(each) for key, each in (trainer.model.trained() | pool).items()}
    gradients[name].view(-1)[:2] = torch.tensor([3.0, 4.0])
    give(trainer, gradients)
    trainer._clip()
    entries: Any = trainer.model.delta.edits[f"child:{name}"]
    assert isinstance(entries.values, nn.Parameter) and entries.values.grad is not None
    assert entries.values.grad.tolist() == pytest.approx([wanted], rel=1e-6)


def test_the_winner_goes_on_with_its_step_counter(hubert: Path, tones: Path, tmp_path: Path) -> None:
    """Ten steps, half of them a competition of three, which the second wins: 5, 10 and 5 updates, in turns."""
    calls: list[int] = []
    counters: list[float] = []

    def see(event: Any, folder: Path) -> None:
        happened, number = (event.event, event.candidate) if isinstance(event, Tried) else (event, 1)
        if isinstance(happened, Step):
            calls.append(number)
        if isinstance(happened, Validated) and happened.step == 10:
            state, _ = read_tensors(folder / STATES / "1.safetensors")
            counters.extend(float(each) for name, each in state.items() if name.endswith("|step"))

    candidates = ["child(keep=0.001, batches=2)", "child(keep=0.5, batches=2)", "child(keep=0.002, batches=2)"]
    search = {"candidates": candidates, "rungs": [0.5], "observe": "loss"}
    train = {"steps": 10, "validate_steps": 5, "delta_lr": 0.003, "batch_clips": 8}
    result = pegbox.train(make(settings_of(hubert, tones) | {"search": search, "train": train}), tmp_path / "run", see)
    assert result["search"]["chosen"] == candidates[1]
    assert calls == [0, 1, 2] * 5 + [1] * 5
    assert counters and set(counters) == {10.0}
