"""VITS (Kim et al., 2021, arXiv:2106.06103), as in the MMS voices: text in, waveform out.

The blocks of the text encoder have all sites. Those of the flow, which have neither attention nor an FFN, have `up`
and `down`: the convolutions to and from the inner width. Duration predictor and vocoder have none.

`transformers` has no loss for it. That of `loss` is the paper's without its discriminators.
"""

import math
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from pegbox.attention import by_head, memory_edited, remembered
from pegbox.backbones import _ready, _speech
from pegbox.backbones._family import Entry, Front, Stack, Undo, Weights, Where
from pegbox.backbones._monotonic import durations
from pegbox.backbones._synthesis import Lessons, Spoken, Synthesis, Taught, Voice, like
from pegbox.mel import Analysis, filters

MEL_WEIGHT: Final = 45.0  # the paper's
SEGMENT: Final = 8192  # samples that are made into sound of each clip and step, the paper's


def attention(
    module: Any,
    hidden_states: Tensor,  # (batch, time, width)
    key_value_states: Tensor | None = None,
    attention_mask: Tensor | None = None,  # (batch, 1, time, time), added
    output_attentions: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Returns (output, weights): as the library where the memory has no edit, else the same numbers without weights.

    What an edit adds in front of the keys has no place, so that the embeddings of near places do not see it.
    """
    if not memory_edited(module):
        return type(module).forward(  # type: ignore[no-any-return]
            module, hidden_states, key_value_states, attention_mask, output_attentions
        )
    parts = (module.q_proj, module.k_proj, module.v_proj)
    query, key, value = (by_head(part(hidden_states), module.num_heads) for part in parts)
    key, value, mask = remembered(module, key, value, attention_mask)
    query, added = query * module.scaling, key.shape[2] - query.shape[2]
    scores = query @ key.transpose(-1, -2)  # (batch, heads, time, added + time)
    if module.window_size is not None:
        scores = scores + F.pad(_near_keys(module, query), (added, 0))
    weights = (scores if mask is None else scores + mask).softmax(-1)
    weights = F.dropout(weights, module.dropout, module.training)
    mixed = weights @ value
    if module.window_size is not None:
        mixed = mixed + _near_values(module, weights[..., added:])
    return module.out_proj(mixed.transpose(1, 2).flatten(2)), None


def _near_keys(module: Any, query: Tensor) -> Tensor:  # (batch, heads, time, head width) → (batch, heads, time, time)
    time = query.shape[2]
    near = module._get_relative_embeddings(module.emb_rel_k, time)  # (1, 2 time - 1, head width)
    scores = module._relative_position_to_absolute_position(query.flatten(0, 1) @ near.transpose(-1, -2))
    return scores.view(*query.shape[:3], time)  # type: ignore[no-any-return]


def _near_values(module: Any, weights: Tensor) -> Tensor:  # (batch, heads, time, time) → (batch, heads, time, width)
    near = module._get_relative_embeddings(module.emb_rel_v, weights.shape[2])
    mixed = module._absolute_position_to_relative_position(weights.flatten(0, 1)) @ near
    return mixed.view(*weights.shape[:3], -1)  # type: ignore[no-any-return]


def ready(core: Any) -> Undo:
    """Puts the attention above into every block of the text encoder, and stops LayerDrop there."""
    encoder = core.text_encoder.encoder
    modules = [block.attention for block in encoder.layers]
    return _ready.undo_all([_ready.no_layerdrop(encoder), _ready.instead(modules, attention)])


@dataclass(frozen=True)
class _Heard:
    """Recordings as the posterior encoder hears them."""

    spectra: Tensor  # (batch, bins, time), amplitudes
    frames: Tensor  # (batch,)
    voice: Tensor | None  # (batch, width, 1)

    @property
    def real(self) -> Tensor:
        """1 on real frames, (batch, 1, time)."""
        places = torch.arange(self.spectra.shape[2], device=self.spectra.device)
        return (places < self.frames[:, None])[:, None].to(self.spectra)


def loss(core: Any, taught: Taught) -> Tensor:
    """Returns divergence of posterior and prior, along the best monotonic alignment, plus the loss of the durations
    that it gives, plus 45 times the L1 of log-Mel frames of a drawn segment made into sound. No discriminator judges.
    """
    heard, told = _heard(core, taught), taught.told[:, None].to(core.device, core.dtype)  # (batch, 1, units)
    text = core.text_encoder(taught.units, told.transpose(1, 2), taught.told.long())
    latent, _, posterior = core.posterior_encoder(heard.spectra, heard.real, heard.voice)  # (batch, width, time)
    flown = core.flow(latent, heard.real, heard.voice)
    mean, deviation = (each.transpose(1, 2) for each in (text.prior_means, text.prior_log_variances))
    frames = _alignment(flown, mean, deviation, taught.counts, heard.frames)  # (batch, units)
    mean, deviation = (_stretched(each, frames) for each in (mean, deviation))  # (batch, width, time)
    apart = deviation - posterior - 0.5 + 0.5 * (flown - mean).square() * (-2 * deviation).exp()
    divergence: Tensor = (apart * heard.real).sum() / heard.real.sum()
    lasting = _duration_loss(core, text.last_hidden_state.transpose(1, 2), told, frames, heard.voice)
    return divergence + lasting + MEL_WEIGHT * _segment_loss(core, taught, heard, latent)


def speak(core: Any, units: Tensor, voice: Voice) -> Spoken:  # (units,)
    """Returns the sound of one text."""
    told = {"speaker_id": voice} if core.config.num_speakers > 1 else {}
    said = core(input_ids=units[None], return_dict=True, **told)
    return Spoken(said.waveform[0, : int(said.sequence_lengths[0])])


def analysis(config: Any, front: Front, source: str) -> Analysis:
    """Returns how the frames are cut by which sound is learnt and judged: as the posterior encoder's, in 80 bands."""
    hop = math.prod(config.upsample_rates)
    return Analysis(config.sampling_rate, 2 * (config.spectrogram_bins - 1), hop, bands=80, floor=1e-5)


def _heard(core: Any, taught: Taught) -> _Heard:
    lengths = (~taught.wave.isnan()).sum(1).tolist()
    cut = analysis(core.config, Front(0, {}), "")
    spectra = [_spectrum(wave[:length], cut).T for wave, length in zip(taught.wave, lengths, strict=True)]
    frames = torch.tensor([len(each) for each in spectra], device=taught.wave.device)
    numbers = torch.tensor([taught.voice] * len(spectra), device=taught.wave.device)
    voice = core.embed_speaker(numbers)[..., None] if core.config.num_speakers > 1 else None
    return _Heard(pad_sequence(spectra, batch_first=True).transpose(1, 2), frames, voice)


def _spectrum(wave: Tensor, cut: Analysis) -> Tensor:  # (…, samples) → (…, bins, samples // hop)
    """Returns amplitudes of windows that lie in the middle of their hop, the clip mirrored at its ends."""
    beyond = (cut.window - cut.hop) // 2
    mode = "reflect" if wave.shape[-1] > beyond else "constant"
    whole = F.pad(wave[None], (beyond, beyond), mode=mode)[0]
    hann = torch.hann_window(cut.window, device=wave.device)
    found = torch.stft(whole, cut.window, cut.hop, window=hann, center=False, return_complex=True)
    return (found.real.square() + found.imag.square() + 1e-6).sqrt()


@torch.no_grad()
def _alignment(flown: Tensor, mean: Tensor, deviation: Tensor, counts: Tensor, frames: Tensor) -> Tensor:
    """Returns the frames of each unit, (batch, units), by the likeliest monotonic alignment of flown posterior (batch,
    width, time) and prior, (batch, width, units)."""
    sharp = (-2 * deviation).exp()
    fixed = (-deviation - 0.5 * mean.square() * sharp).sum(1)  # (batch, units)
    scores = (mean * sharp).mT @ flown - 0.5 * sharp.mT @ flown.square() + fixed[..., None]  # (batch, units, time)
    found = torch.zeros(mean.shape[0], mean.shape[2], dtype=torch.long)
    for clip, (units, time) in enumerate(zip(counts.tolist(), frames.tolist(), strict=True)):
        found[clip, :units] = torch.from_numpy(durations(scores[clip, :units, :time].double().cpu().numpy()))
    return found.to(mean.device)


def _stretched(x: Tensor, frames: Tensor) -> Tensor:  # (batch, width, units), (batch, units) → (batch, width, time)
    """Returns what each frame has of its unit; 0 where there is no frame."""
    return pad_sequence(
        [clip.repeat_interleave(lasting, 1).T for clip, lasting in zip(x, frames, strict=True)], batch_first=True
    ).transpose(1, 2)


def _duration_loss(core: Any, hidden: Tensor, told: Tensor, frames: Tensor, voice: Tensor | None) -> Tensor:
    """Returns the mean over units of the squared error of log durations, or of the flow's bound on their likelihood."""
    lasting = frames[:, None].to(hidden)  # (batch, 1, units)
    if core.config.use_stochastic_duration_prediction:
        bound: Tensor = core.duration_predictor(hidden, told, voice, durations=lasting)  # (batch,)
        return bound.sum() / told.sum()
    wrong: Tensor = core.duration_predictor(hidden, told, voice) - (lasting + 1e-6).log()
    return (wrong.square() * told).sum() / told.sum()


def _segment_loss(core: Any, taught: Taught, heard: _Heard, latent: Tensor) -> Tensor:
    """Returns the L1 of the log-Mel frames of a drawn part of each clip, made into sound of its latents."""
    cut = analysis(core.config, Front(0, {}), "")
    length = min(max(1, SEGMENT // cut.hop), int(heard.frames.min()))
    firsts = (torch.rand(len(latent)) * (heard.frames.cpu() - length + 1)).long()
    places = (firsts[:, None] + torch.arange(length)).to(latent.device)[:, None]  # (batch, 1, length)
    part, true = (each.gather(2, places.expand(-1, each.shape[1], -1)) for each in (latent, heard.spectra))
    made = _spectrum(core.decoder(part, heard.voice)[:, 0], cut)
    said, wanted = ((filters(cut).to(each).T @ each).clamp(min=cut.floor).log() for each in (made, true))
    return F.l1_loss(said, wanted)


_CONVOLUTIONS: Final[dict[str, Where]] = {
    "enter": Entry(""),
    "up": Weights("feed_forward.conv_1"),
    "down": Weights("feed_forward.conv_2"),
}
_FLOW: Final = {"up": Weights("conv_pre"), "down": Weights("conv_post")}

family: Final = Synthesis(
    name="vits",
    network="VitsModel",
    checkpoints={"vits": "VitsModel"},
    stacks=(
        Stack("encoder", "text_encoder.encoder.layers", like(_speech.ROLES, _CONVOLUTIONS)),
        Stack("flow", "flow.flows", _FLOW),
    ),
    norms_first=lambda config: False,
    ready=ready,
    lessons=Lessons(
        reads="text",
        learns=("wave",),
        analysis=analysis,
        voices=lambda config: max(1, config.num_speakers),
        loss=loss,
        speak=speak,
        sounds=True,
    ),
)
