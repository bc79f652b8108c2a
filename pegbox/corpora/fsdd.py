"""Free Spoken Digit Dataset (Z. Jackson et al.): digits 0 to 9 of a few speakers, 50 takes each."""

from dataclasses import dataclass, replace
from typing import ClassVar, Final

from pegbox.corpora import _draw
from pegbox.errors import CorpusError
from pegbox.rows import Row

GET: Final = "unpack https://github.com/Jakobovski/free-spoken-digit-dataset so that recordings/ lies here"


@dataclass(frozen=True)
class Fsdd:
    """Rows of `{digit}_{speaker}_{take}` files with the labels `word` and `speaker`.

    The official split tests the first `takes` takes and here validates on as many next ones. With `test_speakers` all
    their clips are the test part instead, and validation is the first takes of the others, or all of `valid_speakers`.
    """

    root: str
    test_speakers: tuple[str, ...] = ()
    valid_speakers: tuple[str, ...] = ()
    takes: int = 5

    stratify: ClassVar[str | None] = "word"

    @property
    def disjoint(self) -> str | None:
        """The speaker, where both other parts have their own."""
        return "speaker" if self.test_speakers and self.valid_speakers else None

    def rows(self) -> list[Row]:
        """Returns the rows with splits, by id."""
        root = _draw.folder(self.root)
        place = root / "recordings" if (root / "recordings").is_dir() else root
        if self.valid_speakers and not self.test_speakers:
            raise CorpusError(f"{self.root}: valid_speakers without test_speakers would leave no test part; give both")
        rows = [_row(path.stem, str(path)) for path in _draw.audio_files(place)]
        known = {row.labels["speaker"] for row in rows}
        strange = {*self.test_speakers, *self.valid_speakers} - known
        both = {*self.test_speakers} & {*self.valid_speakers}
        if not rows or strange or both:
            fault = f"unknown speakers {sorted(strange)}" if strange else f"{sorted(both)} in two parts"
            raise CorpusError(
                f"{self.root}: {fault if rows else f'no recordings; {GET}'}; speakers here: {sorted(known)}"
            )
        return [replace(row, split=self._split(row)) for row in rows]

    def _split(self, row: Row) -> str:
        speaker, take = row.labels["speaker"], int(row.labels["take"])
        if speaker in self.test_speakers:
            return "test"
        if self.valid_speakers:
            return "valid" if speaker in self.valid_speakers else "train"
        first = "valid" if self.test_speakers else "test"
        if take < self.takes:
            return first
        return "valid" if not self.test_speakers and take < 2 * self.takes else "train"


def _row(name: str, path: str) -> Row:
    parts = name.split("_")
    if len(parts) != 3 or not parts[0].isdigit() or not parts[2].isdigit():
        raise CorpusError(f"{path}: not named {{digit}}_{{speaker}}_{{take}}")
    return Row(name, path, {"word": parts[0], "speaker": parts[1], "take": parts[2]})
