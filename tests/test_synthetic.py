"""Synthetic corpora: whole, repeatable, with splits that share no voice, and with labels that the sound bears out."""

import json
import signal
import subprocess
import sys
import time
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest

from pegbox import audio, corpora, registry, rows
from pegbox.corpora.synthetic import _band, _espeak, _noises, _text, _vary
from pegbox.corpora.synthetic.dialogues import rttm
from pegbox.errors import CorpusError, RecipeError
from pegbox.rows import Row

RATE, AGAIN = 16_000, 30
needs_espeak = pytest.mark.skipif(not _espeak.available(), reason="eSpeak NG is not installed (the extra 'demo')")
SPECS = {name: name for name in registry.names("corpora") if name.startswith("synthetic_")} | {
    "verify": 'synthetic_speakers(protocol="verify")',
    "mixed": "synthetic_sounds(mixed=True)",
    "hard": "synthetic_keywords(hard=True)",
    "hard intents": "synthetic_intents(hard=True)",
    "hard sounds": "synthetic_sounds(hard=True)",
    "languages": 'synthetic_sentences(languages=["de", "fr", "it", "pl", "es"])',
}
SILENT = ("synthetic_sounds", "synthetic_music", "mixed", "hard sounds")


@pytest.fixture
def home(made_clips: Path) -> Path:
    return made_clips


def made(spec: str, home: Path) -> list[Row]:
    """The rows of a spec, made once a test run."""
    return corpora.build(given(spec, f'root="{home}"')).rows()


def remade(spec: str, folder: Path) -> list[Row]:
    """The first clips of a corpus, made once more by another process."""
    script = f"""
import sys
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from pegbox import corpora
from pegbox.corpora.synthetic import _store
whole = corpora.build(sys.argv[1])
few = SimpleNamespace(clips=lambda: islice(whole.clips(), {AGAIN}), count=lambda: {AGAIN})
_store.make(few, Path(sys.argv[2]))
"""
    subprocess.run([sys.executable, "-c", script, spec, str(folder)], check=True)
    return rows.load(folder / "manifest.jsonl")


def given(spec: str, option: str) -> str:
    return f"{spec[:-1]}, {option})" if spec.endswith(")") else f"{spec}({option})"


def wave(row: Row) -> audio.Wave:
    return audio.read(row.audio, RATE)


def high_share(sound: audio.Wave, above: float = 3000.0) -> float:
    """The share of energy above a frequency."""
    power = np.abs(np.fft.rfft(sound)) ** 2
    return float(power[np.fft.rfftfreq(len(sound), 1 / RATE) > above].sum() / power.sum())


@pytest.mark.parametrize("name", SPECS)
def test_a_corpus_is_valid_repeatable_and_split_without_leaks(name: str, home: Path, tmp_path: Path) -> None:
    if name not in SILENT and not _espeak.available():
        pytest.skip("eSpeak NG is not installed (the extra 'demo')")
    corpus = corpora.build(given(SPECS[name], f'root="{home}"'))
    found = corpus.rows()
    rows.check(found, corpus.disjoint)
    assert {row.split for row in found} == {"train", "valid", "test"}
    again = remade(SPECS[name], tmp_path)
    assert [row.labels for row in again] == [row.labels for row in found[:AGAIN]]
    assert all(
        Path(a.audio).read_bytes() == (tmp_path / b.audio).read_bytes() for a, b in zip(found, again, strict=False)
    )
    assert all(audio.info(row.audio).rate == RATE for row in found)
    voices = [
        {voice for row in found if row.split == split for voice in row.labels.get("voices", "").split(",") if voice}
        for split in rows.SPLITS
    ]
    assert not any(one & other for one, other in combinations(voices, 2))


@needs_espeak
def test_another_seed_makes_other_sounds(home: Path) -> None:
    first, second = made("synthetic_voice", home), made("synthetic_voice(seed=1)", home)
    assert Path(first[0].audio).read_bytes() != Path(second[0].audio).read_bytes()


@needs_espeak
def test_phoneme_times_are_where_the_spectrum_says(home: Path) -> None:
    """Sibilants lie high, vowels low: measured at the promised times, in noise and rooms."""
    sibilants, vowels = [], []
    for row in made("synthetic_sentences", home)[:60]:
        sound = wave(row)
        for symbol, start, end in json.loads(row.labels["times"]):
            part = sound[int((start + 0.25 * (end - start)) * RATE) : int((start + 0.75 * (end - start)) * RATE)]
            if len(part) > 200:
                kind = sibilants if symbol in ("s", "ʃ") else vowels if symbol in ("ɑː", "ɔː", "oʊ", "aʊ", "uː") else []
                kind.append(high_share(part))
    assert len(sibilants) > 50 and len(vowels) > 20
    assert np.mean(np.array(sibilants) > np.median(vowels)) > 0.9
    assert np.median(sibilants) > 5 * np.median(vowels)


@needs_espeak
def test_phonemes_are_those_of_the_text(home: Path) -> None:
    """The phonemes heard while speaking, against those that eSpeak NG gives for the text alone."""
    speech = _espeak.Synthesizer()
    for row in made("synthetic_voice", home)[:40]:
        wanted = speech.phonemes(row.labels["transcript"], _espeak.Voice("en-us", "Andrea"))
        assert row.labels["phonemes"].split() == list(wanted)


@needs_espeak
def test_several_voices_say_texts_of_their_own(home: Path) -> None:
    alone, several = made("synthetic_voice", home), made('synthetic_voice(others=["m1", "f4"])', home)
    assert len(several) == 3 * len(alone)
    assert len({row.labels["transcript"] for row in several}) == len(several)
    assert {(row.labels["voice"], row.split) for row in several} == {
        (voice, split) for voice in ("Andrea", "m1", "f4") for split in rows.SPLITS
    }
    for row in alone[:20]:
        times = json.loads(row.labels["times"])
        assert " ".join(symbol for symbol, _, _ in times) == row.labels["phonemes"]
        moments = [moment for _, *pair in times for moment in pair]
        assert moments == sorted(moments) and moments[-1] <= len(wave(row)) / RATE + 1e-3


@needs_espeak
def test_turns_are_where_the_voices_are(home: Path) -> None:
    overlaps, inside, outside = 0, [], []
    for row in made("synthetic_dialogues", home):
        turns, sound = json.loads(row.labels["turns"]), wave(row)
        assert {voice for voice, _, _ in turns} == set(row.labels["voices"].split(","))
        assert Path(row.audio).with_suffix(".rttm").read_text() == rttm(row.id, turns)
        overlaps += any(later[1] < earlier[2] for earlier, later in pairwise(turns))
        speaking = np.zeros(len(sound), bool)
        for _, start, end in turns:
            assert 0 <= start < end <= len(sound) / RATE + 1e-3
            speaking[int(start * RATE) : int(end * RATE)] = True
        inside.append(_vary.rms(sound[speaking]))
        outside.append(_vary.rms(sound[~speaking]) if (~speaking).sum() > 800 else 0.0)
    assert overlaps > 20
    assert np.median(np.array(outside) / inside) < 0.4


@needs_espeak
def test_verification_trials_are_right_and_balanced(home: Path) -> None:
    corpus = corpora.build(f'synthetic_speakers(protocol="verify", root="{home}")')
    voices = {row.id: (row.labels["voice"], row.split) for row in corpus.rows()}
    trials = corpus.trials()  # type: ignore[attr-defined]
    assert trials == corpus.trials()  # type: ignore[attr-defined]
    assert 0.3 < np.mean([same for _, _, same in trials]) < 0.7
    for left, right, same in trials:
        assert voices[left][1] == voices[right][1] == "test" and left != right
        assert (voices[left][0] == voices[right][0]) is same


@needs_espeak
def test_feelings_are_heard_in_length_and_loudness(home: Path) -> None:
    found = made("synthetic_emotions", home)
    length = {
        feeling: np.mean([rows.seconds(row) for row in found if row.labels["emotion"] == feeling])
        for feeling in ("sad", "neutral", "angry")
    }
    assert length["sad"] > 1.1 * length["neutral"] > 1.1 * length["angry"]


@needs_espeak
def test_intents_and_slots_are_those_of_the_words(home: Path) -> None:
    for row in made("synthetic_intents", home):
        said = row.labels["transcript"]
        assert row.labels["intent"].split("|") == [row.labels[part] for part in ("action", "object", "location")]
        places = [place for place in ("kitchen", "bedroom", "washroom") if place in said]
        assert places == ([] if row.labels["location"] == "none" else [row.labels["location"]])
        assert (" off" in said) == (row.labels["action"] == "deactivate")
    for row in made("synthetic_slots", home):
        words, tags = row.labels["transcript"].split(), row.labels["slots"].split()
        assert len(words) == len(tags) and set(tags) - {"O"}
        for slot in set(tags) - {"O"}:
            value = " ".join(word for word, tag in zip(words, tags, strict=True) if tag == slot)
            assert value in _text._FILLERS[slot]


@needs_espeak
@pytest.mark.parametrize("name", ["synthetic_keywords", "hard"])
def test_silence_has_no_word_in_it(name: str, home: Path) -> None:
    """The loudest tenth of a second against the median one."""
    swing: dict[bool, list[float]] = {True: [], False: []}
    for row in made(SPECS[name], home):
        parts = [_vary.rms(part) for part in np.array_split(wave(row), 10)]
        assert len(wave(row)) == RATE
        swing[row.labels["word"] == "_silence_"].append(max(parts) / np.median(parts))
    assert np.median(swing[False]) > 1.5 * np.median(swing[True])


def test_sounds_have_the_spectra_of_their_kind(home: Path) -> None:
    draw = np.random.default_rng(3)
    share = {
        name: np.median([high_share(make(draw, 2.0), 1500) for _ in range(9)]) for name, make in _noises.NOISES.items()
    }
    assert min(share[name] for name in ("birds", "glass", "rain")) > 0.5
    assert max(share[name] for name in ("knock", "thunder", "wind", "engine", "telephone")) < 0.35
    counts = {len(row.labels["events"].split(",")) for row in made("synthetic_sounds(mixed=True)", home)}
    assert counts == {1, 2, 3}
    found = made("synthetic_sounds(fold=2)", home)
    assert {row.fold for row in found} == {1, 2, 3, 4, 5}
    assert {row.fold for row in found if row.split == "test"} == {2}


def test_music_is_in_its_key_and_ambient_has_no_drums(home: Path) -> None:
    draw, ranks = np.random.default_rng(1), []
    for number in range(24):
        sound = _band.play(_band.GENRES["ambient"], number % 12, 60.0, 12.0, draw)
        power = np.abs(np.fft.rfft(sound)) ** 2
        pitch = 12 * np.log2(np.maximum(np.fft.rfftfreq(len(sound), 1 / RATE), 1) / 440) + 69
        heard = (pitch > 40) & (pitch < 90)
        chroma = np.bincount(np.round(pitch[heard]).astype(int) % 12, power[heard], 12)
        inside = [chroma[(np.array([0, 2, 4, 5, 7, 9, 11]) + key) % 12].sum() for key in range(12)]
        ranks.append(int(np.sum(np.array(inside) > inside[number % 12])))
    assert np.mean(np.array(ranks) <= 1) > 0.8  # the next key of the circle of fifths differs by one note
    beats: dict[str, list[float]] = {}
    for row in made("synthetic_music", home):
        sound = wave(row)
        frames = np.abs(np.fft.rfft(sound[: len(sound) // 512 * 512].reshape(-1, 512)))[:, 100:]
        beats.setdefault(row.labels["genre"], []).append(float(np.std(np.log(frames.sum(1) + 1e-6))))
    drummed = [np.median(values) for genre, values in beats.items() if genre not in ("ambient", "waltz")]
    assert np.median(beats["ambient"]) < min(drummed)


def test_the_tempo_of_music_is_that_of_its_genre_as_the_room_plays_it(home: Path) -> None:
    for row in made("synthetic_music", home):
        slowest, fastest = _band.GENRES[row.labels["genre"]].tempo
        assert slowest * 0.9 - 0.01 <= float(row.labels["tempo"]) <= fastest * 1.1 + 0.01


def test_recorded_moments_are_where_they_went() -> None:
    """A click at 0.5 s, found again in the varied sound."""
    click = np.zeros(RATE, np.float32)
    click[RATE // 2] = 1.0
    for seed in range(8):
        quiet = _vary.Ranges(snr=(60, 60), reverberation=(0.1, 0.2), speed=(0.8, 1.25), chance=0.5)
        heard = _vary.record(click, np.random.default_rng(seed), quiet)
        assert np.argmax(np.abs(heard.wave)) / RATE == pytest.approx(heard.at(0.5), abs=0.002)


def test_noise_is_as_loud_as_was_drawn() -> None:
    draw = np.random.default_rng(0)
    sound = np.sin(np.arange(RATE) * 0.2).astype(np.float32)
    for snr in (-5.0, 0.0, 20.0):
        noise = _vary.mix(sound, _vary.coloured(RATE, 1.0, draw), snr) - sound
        assert 20 * np.log10(_vary.rms(sound) / _vary.rms(noise)) == pytest.approx(snr, abs=0.01)


def test_coloured_noise_falls_with_frequency() -> None:
    draw = np.random.default_rng(0)
    white, pink, brown = (high_share(_vary.coloured(4 * RATE, slope, draw), 1000) for slope in (0.0, 1.0, 2.0))
    assert white == pytest.approx(0.875, abs=0.02) and white > pink > brown


def makers(home: Path) -> list[Path]:
    """The folders in which a corpus is being made, or was when its maker died."""
    return list(home.glob(".synthetic_sounds-*-*-*-*"))


def asking(home: Path) -> subprocess.Popen[bytes]:
    """Another process that wants the same corpus."""
    spec = f'synthetic_sounds(root="{home}")'
    return subprocess.Popen([sys.executable, "-c", f"from pegbox import corpora; corpora.build({spec!r}).rows()"])


def test_of_two_that_want_the_same_corpus_one_makes_it(tmp_path: Path) -> None:
    both, seen = [asking(tmp_path) for _ in range(2)], set[Path]()
    while any(each.poll() is None for each in both):
        seen |= set(makers(tmp_path))
        time.sleep(0.02)
    assert [each.returncode for each in both] == [0, 0] and len(seen) == 1
    assert not makers(tmp_path) and made("synthetic_sounds", tmp_path)


def test_a_killed_maker_is_cleared_away(tmp_path: Path) -> None:
    killed = asking(tmp_path)
    while killed.poll() is None and not (makers(tmp_path) and list(makers(tmp_path)[0].iterdir())):
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL and makers(tmp_path), "it was too fast for this test"
    rows.check(made("synthetic_sounds", tmp_path), None)
    assert not makers(tmp_path)


def test_without_espeak_the_message_names_the_extra(tmp_path: Path) -> None:
    script = (
        "import sys, ctypes.util\n"
        "sys.modules['espeakng_loader'] = None\n"
        "ctypes.util.find_library = lambda name: None\n"
        "from pegbox import corpora\n"
        f'corpora.build("synthetic_keywords(root={str(tmp_path)!r})").rows()\n'
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode and "CorpusError" in done.stderr and "pip install 'pegbox[demo]'" in done.stderr
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CorpusError, match="give root="):
        corpora.build(f'synthetic_music(root="{tmp_path / "file"}")').rows()
    with pytest.raises(RecipeError, match="no words of the language 'xx'"):
        corpora.build('synthetic_sentences(languages=["xx"])')
    with pytest.raises(RecipeError, match="did you mean 'Andrea'"):
        corpora.build('synthetic_voice(timbre="andrea")')
    with pytest.raises(RecipeError, match="every timbre once"):
        corpora.build('synthetic_voice(others=["Andrea"])')
    with pytest.raises(RecipeError, match="en-us has only 3136"):
        corpora.build('synthetic_voice(size="medium", others=["m1", "f4"])')
    with pytest.raises(RecipeError, match="'small' or 'medium'"):
        corpora.build('synthetic_music(size="huge")')
    with pytest.raises(CorpusError, match="fold 9"):
        corpora.build(f'synthetic_sounds(fold=9, root="{tmp_path}")').rows()
