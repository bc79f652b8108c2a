"""L2-ARCTIC: CMU ARCTIC's sentences by speakers of English as a second language (Zhao et al., Interspeech 2018)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from pegbox.corpora import _draw, _read
from pegbox.rows import Row

GET: Final = "ask for L2-ARCTIC at https://psi.engr.tamu.edu/l2-arctic-corpus/ and unpack it so that ABA/wav/ lies here"


@dataclass(frozen=True)
class L2Arctic:
    """Rows with the labels `transcript`, `speaker` and `prompt`; splits are drawn, as the release has none.

    All speakers read the same sentences: with `apart="prompt"` no sentence, with `"speaker"` no speaker stands in two
    splits. `speakers` keeps some; the spontaneous part (`suitcase_corpus`) is left out.
    """

    root: str
    apart: Literal["prompt", "speaker"] = "prompt"
    speakers: tuple[str, ...] = ()
    valid: float = 0.1
    test: float = 0.1
    seed: int = 0

    @property
    def disjoint(self) -> str:
        """The prompt or the speaker."""
        return self.apart

    @property
    def stratify(self) -> str | None:
        """Nothing: whole sentences or whole speakers move."""
        return None

    def rows(self) -> list[Row]:
        """Returns the rows with splits, by id."""
        root = _read.root(self.root, self.speakers, GET)
        places = [path for path in (*root.glob("*/wav"), *root.glob("*/*/wav")) if path.is_dir()]
        kept = [path.parent for path in places if not self.speakers or path.parent.name in self.speakers]
        rows, faults = list[Row](), list[str]()
        for place in kept:
            for path in _draw.audio_files(place / "wav"):
                text = place / "transcript" / f"{path.stem}.txt"
                faults += [] if text.is_file() else [f"{place.name}/{path.stem} has no transcript"]
                labels = {"transcript": _said(text), "speaker": place.name, "prompt": path.stem}
                rows.append(Row(f"{place.name}/{path.stem}", str(path), labels))
        _read.refuse(root, faults)
        return _draw.draw(_read.ordered(rows, f"{root} ({GET})"), self.valid, self.test, self.seed, self.apart, None)


def _said(path: Path) -> str:
    return " ".join(_read.lines(path)).strip() if path.is_file() else ""
