"""A miniature of the folder that suites read: every corpus of the sources in its official layout, a few clips each."""

from pathlib import Path

from _layouts import sounds, text
from test_corpora import tree
from test_corpora_feelings import esd, iemocap, meld
from test_corpora_read import fleurs, vctk
from test_corpora_sounds import freesound, music
from test_corpora_turns import kaldi, voices

from pegbox.corpora.esd import ENGLISH
from pegbox.corpora.speech_commands import COMMANDS, NOISE, WORDS, which_split

COMMAND = ",path,speakerId,transcription,action,object,location"


def data(root: Path) -> Path:
    """Writes everything and returns the root."""
    _books(root / "LibriSpeech", root / "lexicon")
    _words(root)
    _orders(root / "fluent_speech_commands_dataset")
    _requests(root / "SNIPS")
    _celebrities(root / "VoxCeleb1")
    kaldi(root / "Libri2Mix_diarization")
    iemocap(root / "IEMOCAP_full_release")
    tree(root / "ESC-50-master")
    sounds(root, *(str(path.relative_to(root)) for path in (root / "ESC-50-master" / "audio").iterdir()))
    freesound(root / "FSD50K", '3,"Dog,Rain","/m/2,/m/3",train')
    sounds(root / "FSD50K", "FSD50K.dev_audio/3.wav")
    music(root / "GTZAN")
    esd(root / "ESD", ENGLISH)
    for who in ENGLISH:  # every clip has a text, long enough to be heard
        clips = sorted((root / "ESD" / who).rglob("*.wav"))
        text(root / "ESD" / who / f"{who}.txt", *(f"{clip.stem}\ta\tx" for clip in clips))
    meld(root / "MELD.Raw")
    vctk(root / "VCTK-Corpus", {"p225": 10, "p226": 10})
    fleurs(root / "fleurs" / "en_us")
    sounds(root / "fleurs" / "en_us", "audio/train/000.wav", seconds=1)
    for language in ("es", "zh-CN", "ar"):
        place = root / "cv-corpus-7.0-2021-07-21" / language
        voices(place)
        sounds(place, "clips/common_0.mp3", seconds=1)
    return root


def _books(root: Path, lexicon: Path) -> None:
    for part, speaker in (("train-clean-100", 19), ("dev-clean", 84), ("test-clean", 61)):
        names = [f"{speaker}-7-{n:04d}" for n in range(2)]
        sounds(root, *(f"{part}/{speaker}/7/{name}.flac" for name in names), seconds=1)
        text(root / part / str(speaker) / "7" / f"{speaker}-7.trans.txt", *(f"{name} OH NO" for name in names))
    text(lexicon / "librispeech-lexicon-200k-g2p.txt", "NO  N OW1")
    text(lexicon / "librispeech-lexicon-allothers-g2p.txt", "OH  OW1")


def _words(root: Path) -> None:
    known = [f"{number:08x}_nohash_0.wav" for number in range(60)]
    each = [next(name for name in known if which_split(name) == split) for split in ("train", "valid", "test")]
    for version in ("v0.01", "v0.02"):
        place = root / f"speech_commands_{version}"
        sounds(place, *(f"{word}/{name}" for word in WORDS[version] for name in each))
        sounds(place, f"{NOISE}/pink.wav", seconds=10)
        for part, name in (("validation", each[1]), ("testing", each[2])):
            text(place / f"{part}_list.txt", *(f"{word}/{name}" for word in WORDS[version]))
    sounds(root / "speech_commands_test_set_v0.01", *(f"{n}/0.wav" for n in (*COMMANDS, "_unknown_", "_silence_")))


def _orders(root: Path) -> None:
    for number, part in enumerate(("train", "valid", "test")):
        said = (("a", "activate,lights,kitchen"), ("b", "bring,shoes,none"))
        lines = [f"0,wavs/speakers/s{number}/{name}{number}.wav,s{number},x,{label}" for name, label in said]
        text(root / "data" / f"{part}_data.csv", COMMAND, *lines)
        sounds(root, *(line.split(",")[1] for line in lines))


def _requests(root: Path) -> None:
    names = ["Ivy-snips-train-0", "Amy-snips-valid-0", "Emma-snips-test-0"]
    text(root / "all.iob.snips.txt", *(f"{name} BOS go to it EOS\tO O artist O PlayMusic" for name in names))
    sounds(root, *(f"{name.split('-')[2]}/{name}.wav" for name in names), seconds=1)


def _celebrities(root: Path) -> None:
    clips = [f"id1000{who}/v/0000{n}.wav" for who in (1, 2, 3, 4) for n in (1, 2, 3)]
    sounds(root / "dev" / "wav", *clips, seconds=2.1)  # shorter ones are not trained on
    tested = [f"id1027{who}/v/0000{n}.wav" for who in (0, 1) for n in (1, 2)]
    sounds(root / "test" / "wav", *tested, seconds=0.2)
    text(root / "iden_split.txt", *(f"{number % 3 + 1} {clip}" for number, clip in enumerate(clips)))
    text(root / "veri_test.txt", f"1 {tested[0]} {tested[1]}", f"0 {tested[0]} {tested[2]}")
