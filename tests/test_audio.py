"""Audio is read exactly, at the wanted rate, or refused with its path and what to do."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from pegbox import audio
from pegbox.errors import CorpusError

RATE = 16_000
FORMATS = {
    "wav16": ("wav", {"subtype": "PCM_16"}, 1e-4),
    "wav24": ("wav", {"subtype": "PCM_24"}, 1e-6),
    "float": ("wav", {"subtype": "FLOAT"}, 0.0),
    "wavex": ("wav", {"subtype": "PCM_16", "format": "WAVEX"}, 1e-4),
    "flac": ("flac", {}, 1e-4),
    "aiff": ("aiff", {}, 1e-4),
    "ogg": ("ogg", {}, 0.1),
    "mp3": ("mp3", {}, 0.1),
}
CUTS = {
    **{name: FORMATS[name][:2] for name in ("wav16", "wav24", "float", "wavex", "flac", "aiff", "ogg", "mp3")},
    "adpcm": ("wav", {"subtype": "IMA_ADPCM"}),
    "law": ("wav", {"subtype": "ULAW"}),
    "opus": ("opus", {"format": "OGG", "subtype": "OPUS"}),
    "au": ("au", {}),
    "caf": ("caf", {}),
    "w64": ("w64", {}),
    "rf64": ("wav", {"format": "RF64", "subtype": "PCM_16"}),
}
KNOWN_BY_HEADER = sorted({*CUTS} - {"flac", "mp3"})


def sine(seconds: float, rate: int = RATE, pitch: float = 440.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * pitch * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def noise(seconds: float, rate: int = RATE) -> np.ndarray:
    return (0.3 * np.random.default_rng(0).uniform(-1, 1, round(seconds * rate))).astype(np.float32)


def refused(call, *args, says: str) -> str:
    with pytest.raises(CorpusError) as caught:
        call(*args)
    message = str(caught.value)
    assert says in message
    assert str(args[0]) in message
    return message


def pitch_of(wave: np.ndarray, rate: int) -> float:
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave))))
    return float(np.argmax(spectrum) * rate / len(wave))


@pytest.mark.parametrize("name", FORMATS)
def test_formats_come_back_as_mono_float32(name: str, tmp_path: Path) -> None:
    suffix, settings, tolerance = FORMATS[name]
    path, wave = tmp_path / f"a.{suffix}", sine(1.0)
    soundfile.write(path, wave, RATE, **settings)
    found = audio.read(path, RATE)
    assert (found.dtype, found.shape) == (np.float32, (RATE,))
    assert found.flags["C_CONTIGUOUS"]
    assert np.abs(found - wave).max() <= tolerance
    assert audio.info(path) == audio.Info(1.0, RATE, RATE, 1)


def test_stereo_is_averaged(tmp_path: Path) -> None:
    path = tmp_path / "stereo.wav"
    soundfile.write(path, np.stack([sine(0.5), np.zeros(RATE // 2, np.float32)], 1), RATE, subtype="FLOAT")
    assert np.array_equal(audio.read(path, RATE), sine(0.5) / 2)
    assert audio.info(path).channels == 2


@pytest.mark.parametrize("own", [8_000, 22_050, 44_100, 48_000])
def test_resampling_keeps_length_pitch_and_level(own: int, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, sine(1.0, own, 1000), own, subtype="FLOAT")
    found = audio.read(path, RATE)
    assert len(found) == RATE
    assert pitch_of(found, RATE) == pytest.approx(1000, abs=1)
    assert np.abs(found[1000:-1000] - sine(1.0, RATE, 1000)[1000:-1000]).max() < 1e-3


def test_resampling_down_does_not_alias(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, sine(1.0, 44_100, 12_000), 44_100, subtype="FLOAT")  # above 8 kHz, cannot stay
    assert np.abs(audio.read(path, RATE)[1000:-1000]).max() < 1e-3


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg"])
@pytest.mark.parametrize(("start", "end"), [(0.25, 0.5), (0.0, 0.1), (0.75, None), (0.123, 0.987)])
def test_a_part_equals_the_slice(suffix: str, start: float, end: float | None, tmp_path: Path) -> None:
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, noise(1.0), RATE)
    last = RATE if end is None else round(end * RATE)
    assert np.array_equal(audio.read(path, RATE, start, end), audio.read(path, RATE)[round(start * RATE) : last])


@given(st.integers(0, 799), st.integers(1, 800))
def test_any_part_equals_the_slice(tmp_path_factory: pytest.TempPathFactory, first: int, size: int) -> None:
    path = tmp_path_factory.getbasetemp() / "laws.wav"
    if not path.exists():
        soundfile.write(path, noise(0.1, 8000), 8000)
    last = min(first + size, 800)
    assert np.array_equal(audio.read(path, 8000, first / 8000, last / 8000), audio.read(path, 8000)[first:last])


@pytest.mark.parametrize(
    ("start", "end"),
    [(0.5, 0.5), (0.8, 0.2), (-0.1, 0.5), (0.0, 1.1), (1.0, None), (float("nan"), 0.5), (0.0, float("inf"))],
)
def test_times_outside_are_refused(start: float, end: float | None, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, sine(1.0), RATE)
    message = refused(audio.read, path, RATE, start, end, says="correct the times")
    assert "1.000 s" in message


@pytest.mark.parametrize("call", [lambda path: audio.read(path, RATE), audio.info])
def test_what_is_no_audio_is_refused(call, tmp_path: Path) -> None:
    text = tmp_path / "text.wav"
    text.write_text("this is no sound\n" * 50)
    empty = tmp_path / "empty.wav"
    empty.touch()
    refused(call, tmp_path / "missing.wav", says="no such audio file")
    refused(call, tmp_path, says="a folder")
    refused(call, text, says="fetch it again or drop it")
    refused(call, empty, says="fetch it again or drop it")


@pytest.mark.parametrize("suffix", ["wav", "ogg", "aiff"])
@pytest.mark.parametrize("call", [lambda path: audio.read(path, RATE), audio.info])
def test_zero_length_is_refused(call, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, np.zeros(0), RATE)
    refused(call, path, says="zero-length audio; drop it")


def cut(folder: Path, name: str, share: float) -> Path:
    suffix, settings = CUTS[name]
    whole, path = folder / f"whole.{suffix}", folder / f"cut.{suffix}"
    soundfile.write(whole, noise(5.0), RATE, **settings)
    assert abs(len(audio.read(whole, RATE)) - 5 * RATE) <= 1017  # a whole file is never taken for a cut one
    data = whole.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


@pytest.mark.parametrize("share", [0.995, 0.5, 0.1])
@pytest.mark.parametrize("name", CUTS)
def test_a_cut_file_is_never_read_as_a_whole_one(name: str, share: float, tmp_path: Path) -> None:
    message = refused(audio.read, cut(tmp_path, name, share), RATE, says="truncated")
    assert "fetch it again" in message


@pytest.mark.parametrize("name", KNOWN_BY_HEADER)
def test_a_cut_file_is_known_without_decoding_where_its_header_allows(name: str, tmp_path: Path) -> None:
    refused(audio.info, cut(tmp_path, name, 0.6), says="truncated")


def test_a_whole_part_of_a_cut_flac_can_be_read_and_the_rest_not(tmp_path: Path) -> None:
    path = cut(tmp_path, "flac", 0.5)
    whole = audio.read(tmp_path / "whole.flac", RATE)
    assert np.array_equal(audio.read(path, RATE, 0.0, 1.0), whole[:RATE])
    refused(audio.read, path, RATE, 4.0, 5.0, says="truncated")


def test_a_cut_wav_is_known_behind_a_long_comment(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(1.0), RATE)
    data = path.read_bytes()
    comment = b"INFO" + (b"ICMT" + (200).to_bytes(4, "little") + b"x" * 200) * 40
    long = data[:36] + b"LIST" + len(comment).to_bytes(4, "little") + comment + data[36:]
    path.write_bytes(long)
    assert len(audio.read(path, RATE)) == RATE
    path.write_bytes(long[:-4000])
    refused(audio.read, path, RATE, says="truncated")


@pytest.mark.parametrize("size", [0x7FFFFFFF, 0xFFFFFFFF])
def test_a_wav_written_to_a_pipe_is_as_long_as_it_is(size: int, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(1.0), RATE)
    data = bytearray(path.read_bytes())
    data[40:44] = size.to_bytes(4, "little")
    path.write_bytes(data)
    assert len(audio.read(path, RATE)) == RATE


def test_a_flac_that_does_not_say_its_length_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    soundfile.write(path, noise(1.0), RATE)
    data = bytearray(path.read_bytes())
    data[21] &= 0xF0  # the 36 bits of the total number of samples
    data[22:26] = bytes(4)
    path.write_bytes(data)
    refused(audio.read, path, RATE, says="does not say how long it is")
    refused(audio.info, path, says="does not say how long it is")


def test_a_part_too_short_for_the_wanted_rate_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(1.0, 44_100), 44_100)
    refused(audio.read, path, 8000, 0.0, 2 / 44_100, says="2 samples at 44100 Hz are none at 8000 Hz")
    assert len(audio.read(path, 8000, 0.0, 6 / 44_100)) == 1


@pytest.mark.parametrize("name", ["x" * 5000 + ".wav", "a\0b.wav"])
@pytest.mark.parametrize("call", [lambda path: audio.read(path, RATE), audio.info, audio.digest])
def test_a_name_that_no_file_can_have_is_refused(call, name: str) -> None:
    refused(call, name, says="")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_finite_are_counted_and_refused(bad: float, tmp_path: Path) -> None:
    path, wave = tmp_path / "a.wav", sine(0.1)
    wave[3:5] = bad
    soundfile.write(path, wave, RATE, subtype="FLOAT")
    refused(audio.read, path, RATE, says="2 samples are not finite")
    assert len(audio.read(path, RATE, 0.01, 0.1)) == 1440  # the rest is sound


def test_the_digest_is_that_of_the_bytes(tmp_path: Path) -> None:
    one, two, other = (tmp_path / name for name in ("one.wav", "two.wav", "other.wav"))
    for path, wave in ((one, sine(0.1)), (two, sine(0.1)), (other, noise(0.1))):
        soundfile.write(path, wave, RATE)
    assert audio.digest(one) == audio.digest(two) != audio.digest(other)
    refused(audio.digest, tmp_path / "missing.wav", says="cannot be read")
