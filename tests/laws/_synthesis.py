"""Small random networks that make speech of text, what they are given, and what they answer."""

from functools import cache

import torch
import transformers
from _copies import Original
from _models import perturb

from pegbox.backbones import tables

WIDTH, ENCODER, DECODER = 32, 2, 3
CONFIGS = {
    "fastspeech2_conformer": lambda: transformers.FastSpeech2ConformerConfig(
        hidden_size=WIDTH,
        vocab_size=20,
        num_mel_bins=8,
        encoder_layers=ENCODER,
        decoder_layers=DECODER,
        encoder_linear_units=24,
        decoder_linear_units=24,
        decoder_kernel_size=7,
        speech_decoder_postnet_layers=2,
        speech_decoder_postnet_units=16,
        duration_predictor_channels=16,
        energy_predictor_channels=16,
        pitch_predictor_channels=16,
        pitch_predictor_layers=2,
    ),
    "speecht5": lambda: transformers.SpeechT5Config(
        hidden_size=WIDTH,
        vocab_size=20,
        num_mel_bins=8,
        encoder_layers=ENCODER,
        decoder_layers=DECODER,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=48,
        decoder_ffn_dim=48,
        encoder_layerdrop=0.3,
        decoder_layerdrop=0.2,
        speech_decoder_prenet_units=16,
        speech_decoder_postnet_layers=2,
        speech_decoder_postnet_units=16,
        speaker_embedding_dim=8,
        max_text_positions=40,
        max_speech_positions=40,
        guided_attention_loss_num_heads=2,
    ),
    "vits": lambda: transformers.VitsConfig(
        hidden_size=WIDTH,
        vocab_size=20,
        num_hidden_layers=ENCODER,
        num_attention_heads=4,
        ffn_dim=48,
        flow_size=16,
        layerdrop=0.3,
        spectrogram_bins=9,
        use_stochastic_duration_prediction=False,
        upsample_initial_channel=16,
        upsample_rates=(4, 4),
        upsample_kernel_sizes=(8, 8),
        resblock_kernel_sizes=(3,),
        resblock_dilation_sizes=((1, 3),),
        prior_encoder_num_flows=2,
        prior_encoder_num_wavenet_layers=2,
        posterior_encoder_num_wavenet_layers=1,
        duration_predictor_filter_channels=16,
    ),
}


@cache
def _network(name):
    torch.manual_seed(7)
    model = getattr(transformers, tables()[name].network)(CONFIGS[name]())
    perturb(model)
    return Original(model.train())


def network(name):
    """Returns a fresh copy of the same small network, in training mode."""
    return _network(name).copy()


def inputs(name):
    """Returns two texts, the second one shorter, and what is to be said of them."""
    generator = torch.Generator().manual_seed(2)
    given = {
        "input_ids": torch.randint(1, 20, (2, 6), generator=generator),
        "attention_mask": (torch.arange(6) < torch.tensor([[6], [4]])).long(),
    }
    if name == "vits":
        return given
    mel = torch.randn(2, 12, 8, generator=generator)
    mel[1, 8:] = -100.0
    if name == "speecht5":
        return given | {"labels": mel, "speaker_embeddings": torch.randn(2, 8, generator=generator)}
    pitch, energy = torch.randn(2, 2, 6, 1, generator=generator)
    durations = 2 * given["attention_mask"]
    return given | {
        "spectrogram_labels": mel,
        "duration_labels": durations,
        "pitch_labels": pitch,
        "energy_labels": energy,
    }


def loss_of(name, model):
    """Returns the model's own loss; VITS has none in transformers, so the power of what it says."""
    torch.manual_seed(3)
    out = model(**inputs(name))
    return out.waveform.square().mean() if name == "vits" else out.loss


@torch.no_grad()
def answer(name, model):
    """Returns what the model says in eval mode, with the same noise at every call."""
    torch.manual_seed(3)
    out = model.eval()(**inputs(name))
    model.train()
    return out.waveform if name == "vits" else out.spectrogram


@cache
def plain_answer(name):
    """Returns what the network says without any method."""
    return answer(name, network(name))
