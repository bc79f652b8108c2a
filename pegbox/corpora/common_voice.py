"""Common Voice: sentences read by volunteers in many languages (Ardila et al., LREC 2020, arXiv:1912.06670)."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from pegbox.corpora import _read
from pegbox.rows import Row

KEPT: Final = ("age", "gender", "accent", "accents", "variant", "locale")
GET: Final = (
    "fetch a language at https://commonvoice.mozilla.org/datasets and unpack it so that train.tsv, dev.tsv, test.tsv "
    "and clips/ lie here"
)


@dataclass(frozen=True)
class CommonVoice:
    """Rows of a language's folder with the labels `transcript`, `speaker`, and what is known of the speaker.

    `train`, `valid` and `test` name tables of the release. Its own three have no speaker in common, which is checked;
    `validated` overlaps with them. Cells are not quoted: a quotation mark belongs to the sentence.
    """

    root: str
    train: str = "train"
    valid: str = "dev"
    test: str = "test"

    disjoint: ClassVar[str | None] = "speaker"
    stratify: ClassVar[str | None] = None

    def rows(self) -> list[Row]:
        """Returns the rows with splits, by id."""
        parts = {"train": self.train, "valid": self.valid, "test": self.test}
        root = _read.root(self.root, [*(f"{name}.tsv" for name in parts.values()), "clips"], GET)
        rows = []
        for split, name in parts.items():
            for line in _read.table(root / f"{name}.tsv", ("client_id", "path", "sentence"), "\t", quoted=False):
                labels = {"transcript": line["sentence"].strip(), "speaker": line["client_id"]}
                labels |= {key: line[key] for key in KEPT if line.get(key)}
                clip = line["path"] if Path(line["path"]).suffix else f"{line['path']}.mp3"  # as old releases have it
                rows.append(Row(Path(clip).stem, str(root / "clips" / clip), labels, split))
        return _read.ordered(rows, root)
