"""VoxCeleb1: celebrities in interviews (arXiv:1706.08612); who speaks, or whether two clips are one voice."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from pegbox.corpora import _read
from pegbox.errors import CorpusError
from pegbox.rows import Row

PARTS: Final = {"1": "train", "2": "valid", "3": "test"}
GET: Final = (
    "ask for VoxCeleb1 at https://www.robots.ox.ac.uk/~vgg/data/voxceleb/ and unpack it so that wav/id10001/, or "
    "dev/wav/ and test/wav/, lie here with the lists of that page"
)


@dataclass(frozen=True)
class Voxceleb1:
    """Rows with the labels `speaker` and `video`; ids are the paths of the official lists.

    `identify`: the parts of `split_list`, the official `iden_split.txt`, of 1,251 speakers. `verify`: `trials` are
    those of `trial_list`, the official Vox1-O list (`veri_test2.txt` is the cleaned one); their clips are the test
    part, the clips of all other speakers train, and speakers with about the share `valid` of those clips are held out,
    so that no step is chosen on the trials. List names are relative to the root.
    """

    root: str
    protocol: Literal["identify", "verify"] = "identify"
    split_list: str = "iden_split.txt"
    trial_list: str = "veri_test.txt"
    valid: float = 0.03
    seed: int = 0

    @property
    def disjoint(self) -> str | None:
        """The speaker, where unknown people are verified."""
        return "speaker" if self.protocol == "verify" else None

    @property
    def stratify(self) -> str | None:
        """The speaker, where known people are told apart."""
        return "speaker" if self.protocol == "identify" else None

    def rows(self) -> list[Row]:
        """Returns the rows with splits, by id."""
        root, places = self._places()
        return _read.ordered(
            self._identify(root, places) if self.protocol == "identify" else self._verify(places), root
        )

    def trials(self) -> list[tuple[str, str, bool]]:
        """Returns pairs of ids of the test part and whether one voice speaks in both, in the list's order."""
        root, _ = self._places()
        cells = _cells(root / self.trial_list, 3, ("0", "1"))
        found = [(left, right, same == "1") for same, left, right in cells]
        wrong = [(one, other) for one, other, same in found if same is not (_speaker(one) == _speaker(other))]
        faults = [f"'{one} {other}' is marked as the wrong one of 1 (one speaker) and 0 (two)" for one, other in wrong]
        _read.refuse(root / self.trial_list, faults)
        return found

    def _places(self) -> tuple[Path, list[Path]]:
        """Returns the root and the folders that hold a folder a speaker."""
        wanted = self.split_list if self.protocol == "identify" else self.trial_list
        root = _read.root(self.root, [wanted], GET)
        places = [root / name for name in ("wav", "dev/wav", "test/wav") if (root / name).is_dir()]
        if not places:
            raise CorpusError(f"{root}: no wav, dev/wav or test/wav here; {GET}")
        return root, places

    def _identify(self, root: Path, places: list[Path]) -> list[Row]:
        parts = {name: PARTS[part] for part, name in _cells(root / self.split_list, 2, tuple(PARTS))}
        found = _clips(places)
        lost = [f"{name} is in no wav folder" for name in parts if name not in found]
        _read.refuse(root / self.split_list, lost)
        return [_row(name, found[name], split) for name, split in parts.items()]

    def _verify(self, places: list[Path]) -> list[Row]:
        tested = {name for left, right, _ in self.trials() for name in (left, right)}
        found = _clips(places)
        _read.refuse(self.trial_list, [f"{name} is in no wav folder" for name in sorted(tested) if name not in found])
        people = {_speaker(name) for name in tested}
        rows = [_row(name, path, "train") for name, path in found.items() if _speaker(name) not in people]
        held = _read.validated(rows, self.valid, self.seed, "speaker", None)
        return held + [_row(name, found[name], "test") for name in tested]


def _speaker(name: str) -> str:
    return name.partition("/")[0]


def _row(name: str, path: Path, split: str) -> Row:
    speaker, video, _ = name.split("/")
    return Row(name, str(path), {"speaker": speaker, "video": video}, split)


def _clips(places: list[Path]) -> dict[str, Path]:
    """Returns `speaker/video/clip.wav` → path; refuses a clip that lies in two places."""
    found, faults = dict[str, Path](), list[str]()
    for place in places:
        for path in sorted(place.glob("id*/*/*.wav")):
            name = path.relative_to(place).as_posix()
            faults += [f"{name} lies in {found[name]} and {path}"] if name in found else []
            found[name] = path
    _read.refuse(places[0].parent, faults)
    return found


def _cells(path: Path, count: int, first: tuple[str, ...]) -> list[list[str]]:
    """Returns the cells of a list's lines, of which the first is one of a few marks and the rest are clips."""
    found = [line.split() for line in _read.lines(path)]
    wrong = [
        f"line {number}: {' '.join(cells)!r} is not one of {', '.join(first)} and then speaker/video/clip.wav"
        for number, cells in enumerate(found, 1)
        if len(cells) != count or cells[0] not in first or any(name.count("/") != 2 for name in cells[1:])
    ]
    _read.refuse(path, wrong)
    return found
