"""Speech Commands v0.01 and v0.02: words of about a second from thousands of speakers (Warden, arXiv:1804.03209)."""

import re
from dataclasses import dataclass
from hashlib import sha1
from pathlib import Path
from typing import ClassVar, Final, Literal

from pegbox import audio
from pegbox.corpora import _draw, _read
from pegbox.errors import CorpusError, RecipeError
from pegbox.rows import Row

COMMANDS: Final = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
WORDS: Final[dict[str, tuple[str, ...]]] = {
    "v0.01": (
        *COMMANDS,
        *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
        *("bed", "bird", "cat", "dog", "happy", "house", "marvin", "sheila", "tree", "wow"),
    )
}
WORDS["v0.02"] = (*WORDS["v0.01"], "backward", "follow", "forward", "learn", "visual")
NOISE: Final = "_background_noise_"
GET: Final = (
    "unpack http://download.tensorflow.org/data/speech_commands_v0.02.tar.gz (or v0.01) here, "
    "so that a folder a word lies in it"
)
LICENCE: Final = "CC BY 4.0"
# Checksums as torchaudio has them (both releases), and TensorFlow Datasets with sizes (v0.02 and its test set); none is
# known of the test set of v0.01. The archives have no folder of their own.
ARCHIVES: Final = {
    "v0.01": (
        "https://storage.googleapis.com/download.tensorflow.org/data/speech_commands_v0.01.tar.gz",
        "sha256:743935421bb51cccdb6bdd152e04c5c70274e935c82119ad7faeec31780d811d",
        0,
        "speech_commands_v0.01",
    ),
    "v0.02": (
        "https://storage.googleapis.com/download.tensorflow.org/data/speech_commands_v0.02.tar.gz",
        "sha256:af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58",
        2_428_923_189,
        "speech_commands_v0.02",
    ),
    "test_set_v0.02": (
        "https://storage.googleapis.com/download.tensorflow.org/data/speech_commands_test_set_v0.02.tar.gz",
        "sha256:cc2a00c1147c2254e9be3fa0f779d8c17421dc349b86366567a8edfa9acd51df",
        112_563_277,
        "speech_commands_test_set_v0.02",
    ),
}


@dataclass(frozen=True)
class SpeechCommands:
    """Rows with the labels `word` and `speaker`, split by the hash of the speaker as the release's README prescribes.

    `classes` is 35 (30 in v0.01), all words, or 12: the ten commands, `_unknown_` for all other words, and
    `_silence_`, the noise files cut into seconds, the first eight tenths of each to train on, then one to validate and
    one to test on. `unknown` is the share of other words that is kept. `test_root` is the unpacked archive of the test
    set with its twelve folders, as SUPERB tests (arXiv:2105.01051): it replaces the test part. `words` keeps these
    alone. `split="lists"` follows `validation_list.txt` and `testing_list.txt` instead of the hash.
    """

    root: str
    version: Literal["v0.01", "v0.02"] = "v0.02"
    classes: Literal[12, 30, 35] = 35
    words: tuple[str, ...] = ()
    test_root: str = ""
    split: Literal["hash", "lists"] = "hash"
    unknown: float = 1.0

    stratify: ClassVar[str | None] = "word"

    def __post_init__(self) -> None:
        if self.classes not in (12, len(WORDS[self.version])):
            raise RecipeError(f"speech_commands: {self.version} has {len(WORDS[self.version])} words, or classes=12")
        if (self.words and self.classes == 12) or (self.test_root and self.classes != 12):
            raise RecipeError("speech_commands: words goes with all classes, test_root with classes=12")
        if not 0 <= self.unknown <= 1:
            raise RecipeError(f"speech_commands(unknown={self.unknown}): a share from 0 to 1")
        strange = {*self.words} - {*WORDS[self.version]}
        if strange:
            raise RecipeError(f"speech_commands: {self.version} has no words {sorted(strange)}")

    @property
    def disjoint(self) -> str | None:
        """The speaker; silence has none."""
        return None if self.classes == 12 else "speaker"

    def rows(self) -> list[Row]:
        """Returns the rows with splits, by id."""
        wanted = self.words or WORDS[self.version]
        root = _read.root(self.root, wanted, GET)
        _refuse_strange(root, self.version)
        listed = _listed(root) if self.split == "lists" else None
        found = [self._row(path, listed) for word in wanted for path in _draw.audio_files(root / word)]
        rows = [row for row in found if row.labels["word"] != "_unknown_" or _percent(row.id) < 100 * self.unknown]
        rows += _silence(_read.root(self.root, [NOISE], GET) / NOISE) if self.classes == 12 else []
        if self.test_root:
            rows = [row for row in rows if row.split != "test"] + _test_set(self.test_root)
        return _read.ordered(rows, root)

    def _row(self, path: Path, listed: dict[str, str] | None) -> Row:
        name = f"{path.parent.name}/{path.name}"
        speaker = _speaker(path)
        word = path.parent.name if self.classes != 12 or path.parent.name in COMMANDS else "_unknown_"
        split = which_split(path.name) if listed is None else listed.get(name, "train")
        return Row(name, str(path), {"word": word, "speaker": speaker}, split)


def which_split(name: str) -> str:
    """Returns the official split of a file name: what stands before `_nohash_` decides."""
    percent = _percent(re.sub(r"_nohash_.*$", "", Path(name).name))
    return "valid" if percent < 10 else "test" if percent < 20 else "train"


def _percent(text: str) -> float:
    return int(sha1(text.encode()).hexdigest(), 16) % 2**27 * (100 / (2**27 - 1))


def _speaker(path: Path) -> str:
    speaker, mark, _ = path.name.partition("_nohash_")
    if not mark:
        raise CorpusError(f"{path}: not named {{speaker}}_nohash_{{take}}.wav; take it out of the corpus")
    return speaker


def _refuse_strange(root: Path, version: str) -> None:
    known = {*WORDS[version], NOISE}
    strange = [path.name for path in _read.folders(root) if path.name not in known and any(path.iterdir())]
    _read.refuse(root, [f"the folder '{name}' is no word of {version}" for name in strange])


def _listed(root: Path) -> dict[str, str]:
    valid, test = (_read.lines(root / f"{part}_list.txt") for part in ("validation", "testing"))
    both = {*valid} & {*test}
    here = {path.relative_to(root).as_posix() for path in root.glob("*/*")}
    missing = [name for name in (*valid, *test) if name not in here]
    _read.refuse(root, [f"{n} stands in both lists" for n in sorted(both)] + [f"{n} is missing" for n in missing])
    return dict.fromkeys(valid, "valid") | dict.fromkeys(test, "test")


def _silence(place: Path) -> list[Row]:
    rows = []
    for path in _draw.audio_files(place):
        count = int(audio.info(path).seconds)
        for second in range(count):
            split = "train" if second < 0.8 * count else "valid" if second < 0.9 * count else "test"
            name = f"{NOISE}/{path.name}:{second:03d}"
            rows.append(Row(name, str(path), {"word": "_silence_"}, split, None, float(second), second + 1.0))
    return rows


def _test_set(path: str) -> list[Row]:
    classes = (*COMMANDS, "_unknown_", "_silence_")
    get = "unpack http://download.tensorflow.org/data/speech_commands_test_set_v0.02.tar.gz (or v0.01) in it"
    root = _read.root(path, classes, get)
    return [
        Row(f"test/{each}/{sound.name}", str(sound), {"word": each}, "test")
        for each in classes
        for sound in _draw.audio_files(root / each)
    ]
