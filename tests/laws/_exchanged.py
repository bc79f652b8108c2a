"""What the tests of exchange share: networks, outputs by the library's own forward, and changed numbers."""

import torch
from _models import SMALL, clip, features

from pegbox.backbones import families

NETWORKS = ("hubert-layer-pre", "hubert-group-post", "wav2vec2-layer-post", "whisper", "ast", "data2vec", "w2v_bert")
CLOSE = {"atol": 1e-5, "rtol": 1e-4}


def out(model, variant):
    """Returns what the network makes of a clip, by the library's own forward."""
    core = model.get_submodule(families()[SMALL[variant].family].inside)
    with torch.no_grad():
        prepared = features(variant, clip(6000))
        return core(next(prepared[name] for name in ("input_values", "input_features") if name in prepared))[0]


def scramble(module, share=0.1):
    with torch.no_grad():
        for tensor in module.parameters():
            if tensor.requires_grad:
                tensor.add_(torch.randn_like(tensor) * share)
