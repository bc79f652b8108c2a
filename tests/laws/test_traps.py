"""Known traps of tuning speech models: each is reproduced, and either does not exist here or stops the run."""

from importlib.util import find_spec
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from _models import SMALL, alone, network
from torch import nn
from transformers import HubertForSequenceClassification, Wav2Vec2FeatureExtractor, WavLMModel

import pegbox
from pegbox import methods
from pegbox.backbones import Backbone, wavlm
from pegbox.errors import DeadParameterError
from pegbox.recipe import make
from pegbox.training.feed import Feed
from pegbox.training.loop import Step, Trainer
from pegbox.training.model import Tuned
from pegbox.training.prepare import assemble
from pegbox.training.session import Session

pytestmark = pytest.mark.filterwarnings("ignore")
NEEDS_PEFT = pytest.mark.skipif(find_spec("peft") is None, reason="peft is not installed: pip install 'pegbox[peft]'")


def trainer_of(checkpoint, tones, method):
    """Returns a trainer, and a function that takes its first two steps."""
    recipe = make(
        {
            "backbone": str(checkpoint),
            "method": method,
            "task": 'classify(label="class")',
            "corpus": f'folder(root="{tones}", valid=0.2, test=0.2)',
            "train": {"epochs": 3, "batch_clips": 8},
        }
    )
    session = Session(recipe)
    data = session.data(None)
    model = assemble(recipe, session.backbone, session.task, data.vocabulary)
    feed, chosen = Feed(session.backbone, None), methods.parse(method)
    trainer = Trainer(model, feed, chosen, recipe.train, 0, session.accelerator)

    def two_steps():
        events = trainer.events(data.rows["train"], data.rows["valid"])
        assert isinstance(next(events), Step) and isinstance(next(events), Step)

    return trainer, two_steps


@pytest.fixture(scope="module")
def saved_wavlm(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wavlm")
    network("wavlm-layer-pre").save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=False).save_pretrained(folder)
    return folder


def gradients(module):
    return {name: tensor.grad for name, tensor in module.named_parameters() if tensor.requires_grad}


@NEEDS_PEFT
def test_pefts_lora_is_dead_on_the_librarys_wavlm_and_ours_is_alive(hubert, tones):
    import peft

    wave = alone(6000)[0]
    config = peft.LoraConfig(r=2, target_modules=["q_proj", "k_proj", "v_proj"])
    theirs = peft.get_peft_model(network("wavlm-layer-pre"), config)
    ours = network("wavlm-layer-pre")
    delta = pegbox.attach(ours, 'lora(rank=2, at=["q", "k", "v"])')
    trainer, _ = trainer_of(hubert, tones, "lora(rank=2)")
    for model, module, dies in ((theirs, theirs, True), (ours, delta, False)):
        trained = {name: tensor for name, tensor in module.named_parameters() if tensor.requires_grad}
        assert len(trained) == 2 * 3 * 3
        optimiser = torch.optim.AdamW([*trained.values(), head := nn.Parameter(torch.ones(32))], lr=1e-2)
        trainer.model = SimpleNamespace(trained=lambda trained=trained, head=head: trained | {"head": head})
        trainer.progress.alive, trainer.progress.awake = [], False
        for trainer.progress.step in (0, 1):
            optimiser.zero_grad(set_to_none=True)
            (model(wave)[0] * head).square().mean().backward()
            assert head.grad is not None and (not dies or all(tensor.grad is None for tensor in trained.values()))
            if dies and trainer.progress.step == 1:
                with pytest.raises(DeadParameterError, match="18 of 19 trained tensors had no gradient in 2 steps"):
                    trainer._check_alive()
            else:
                trainer._check_alive()
            optimiser.step()


class ReadPast:
    """An attention module as the library's WavLM treats it: the weights are read and the modules not called."""

    def __init__(self, module):
        self.module = module

    def __getattr__(self, name):
        found = getattr(self.module, name)
        return (lambda x: F.linear(x, found.weight, found.bias)) if name.endswith("_proj") else found


def test_an_attention_that_reads_past_its_modules_stops_the_run(saved_wavlm, tones, monkeypatch):
    trainer_of(saved_wavlm, tones, "lora(rank=2)")[1]()
    real = wavlm.attention
    monkeypatch.setattr(wavlm, "attention", lambda module, *args, **more: real(ReadPast(module), *args, **more))
    with pytest.raises(DeadParameterError, match=r"delta\.edits\.lora:0/q"):
        trainer_of(saved_wavlm, tones, "lora(rank=2)")[1]()
    trainer_of(saved_wavlm, tones, "lora(rank=2, dora=True)")[1]()  # an edit of the weight itself is read


def test_reentrant_checkpointing_over_a_frozen_front_end_kills_adapters(hubert, tones, monkeypatch):
    torch.manual_seed(0)
    model = HubertForSequenceClassification(SMALL["hubert-layer-pre"].config()).train()
    model.activation_checkpointing_enable({"use_reentrant": True})
    delta = pegbox.attach(model, "lora(rank=2)")
    model(alone(6000)[0]).logits.sum().backward()
    assert model.classifier.weight.grad is not None
    assert all(gradient is None for gradient in gradients(delta).values())  # the trap
    trainer, two_steps = trainer_of(hubert, tones, "lora(rank=2)")
    trainer.model.backbone.core.activation_checkpointing_enable({"use_reentrant": True})
    two_steps()  # not here: the frozen part is in eval mode, where nothing is recomputed
    monkeypatch.setattr(Tuned, "train", nn.Module.train)
    trainer, two_steps = trainer_of(hubert, tones, "lora(rank=2)")
    trainer.model.backbone.core.activation_checkpointing_enable({"use_reentrant": True})
    with pytest.raises(DeadParameterError, match=r"8 of 13 trained tensors .*'delta\.edits\.lora:0/q\.down'"):
        two_steps()


def test_a_front_end_under_no_grad_kills_the_edits_in_it(hubert, tones, monkeypatch):
    torch.manual_seed(0)
    model = HubertForSequenceClassification(SMALL["hubert-layer-pre"].config()).eval()
    delta = pegbox.attach(model, 'lora(rank=2, at=["conv", "q"])')
    with torch.no_grad():
        delta.edits["lora:conv/0:weight"].up.fill_(0.1)  # past its zeros, so that both factors have a gradient
    extractor = model.hubert.feature_extractor
    forward = extractor.forward
    for frozen in (True, False):
        extractor.forward = torch.no_grad()(forward) if frozen else forward
        model(alone(6000)[0]).logits.sum().backward()
        convs = [gradient for name, gradient in gradients(delta).items() if ":conv/" in name]
        assert len(convs) == 14 and all((gradient is None) == frozen for gradient in convs)
    spec = 'lora(rank=2, at=["conv"])'
    trainer_of(hubert, tones, spec)[1]()  # here a gradient goes as far down as the lowest edit
    monkeypatch.setattr(Backbone, "convolve", torch.no_grad()(Backbone.convolve))
    with pytest.raises(DeadParameterError, match=r"14 of \d+ trained tensors .*'delta\.edits\.lora:conv/0"):
        trainer_of(hubert, tones, spec)[1]()


def test_the_librarys_wavlm_still_reads_past_its_modules():
    """When this fails, transformers has changed: peft can then be written for q, k, v and o, see exchange."""
    model = WavLMModel(SMALL["wavlm-layer-pre"].config()).eval()
    called = []
    for block in model.encoder.layers:
        block.attention.q_proj.register_forward_hook(lambda *_: called.append(1))
    model(alone(6000)[0])
    assert called == []
