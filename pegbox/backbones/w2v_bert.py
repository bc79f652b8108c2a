"""w2v-BERT 2.0 (Barrault et al., 2023, arXiv:2312.05187): a Conformer over pairs of filterbank rows, included here."""

from typing import Any, Final

from torch import Tensor, nn

from pegbox.backbones import _conformer, _kaldi, _ready, _speech
from pegbox.backbones._family import Family, Front, State, Undo
from pegbox.errors import WeightsError

_PAIR: Final = 2


class Pairs(nn.Module):
    """The features of `SeamlessM4TFeatureExtractor`: each Mel band with zero mean and unit variance over the clip."""

    def __init__(self, front: Front, config: Any) -> None:
        super().__init__()
        bins = int(front.settings.get("num_mel_bins", config.feature_projection_input_dim // _PAIR))
        if front.settings.get("stride", _PAIR) != _PAIR or bins * _PAIR != config.feature_projection_input_dim:
            raise WeightsError(
                f"input of {bins} Mel bands in steps of {front.settings.get('stride', _PAIR)} for a network that takes "
                f"{config.feature_projection_input_dim} numbers a frame; Pegbox knows pairs of rows only"
            )
        self.bank = _kaldi.Filterbank(bins, front.rate, power=0.85)

    def forward(self, wave: Tensor, lengths: Tensor) -> Tensor:  # (batch, samples), (batch,) → (batch, time, 2 bands)
        """Returns pairs of rows; the last row of an odd number counts in mean and variance and is left out then."""
        bank: Tensor = self.bank(wave * 2.0**15)  # 16-bit numbers, as Kaldi has them
        counts, real = _kaldi.real_windows(lengths, bank)
        count = counts[:, None, None]
        mean = (bank * real).sum(1, keepdim=True) / count
        centred = (bank - mean) * real
        variance = centred.square().sum(1, keepdim=True) / (count - 1)
        whole = int(counts.max()) // _PAIR * _PAIR
        rows = (centred / (variance + 1e-7).sqrt())[:, :whole]
        return rows.reshape(len(rows), whole // _PAIR, -1)


def frames(config: Any, samples: int) -> int:
    """Returns whole pairs of windows in a clip."""
    return _kaldi.windows(samples) // _PAIR


def enter(core: Any, pairs: Tensor, lengths: Tensor) -> State:  # (batch, time, 2 bands), (batch,)
    """Returns the state that the first block is given, with the places of frames."""
    x, _ = core.feature_projection(pairs)
    counts = lengths.new_tensor([frames(core.config, samples) for samples in lengths.tolist()])
    mask = _speech.padding_mask(counts, x)
    x = core.encoder.dropout(_speech.only_real(x, mask))
    return State(x, mask, _conformer.carry(core, x.shape[1]))


def ready(core: nn.Module) -> Undo:
    """Stops LayerDrop, and lets prompts have places."""
    return _ready.undo_all([_ready.no_layerdrop(core.config), _conformer.places_for_prompts(core)])


family: Final = Family(
    name="w2v_bert",
    model_types=("wav2vec2-bert",),
    network="Wav2Vec2BertModel",
    inside="",
    cores=("Wav2Vec2BertModel",),
    blocks="encoder.layers",
    roles=_conformer.ROLES,
    stem_roles=lambda core: {"frames": "feature_projection.dropout"},
    front=Pairs,
    enter=enter,
    carry=_conformer.carry,
    step=_conformer.step,
    norm=lambda core, x: x,  # each block ends with its own
    frames=frames,
    hop=lambda config: _PAIR * _kaldi.HOP,
    shortest=lambda config: _kaldi.WINDOW + _kaldi.HOP,
    longest=_speech.unlimited,
    norms_first=lambda config: True,
    ready=ready,
    unused=("masked_spec_embed", "adapter.*", "intermediate_ffn.*"),
    front_is_wave=False,
    padding="exact: padded frames are masked, a row of the filterbank without a partner at a clip's end is left out",
)
