"""FSD50K: sounds of 200 AudioSet classes, several a clip (Fonseca et al., arXiv:2010.00475)."""

from dataclasses import dataclass
from typing import ClassVar, Final

from pegbox.corpora import _read
from pegbox.rows import Row

PARTS: Final = {"dev": {"train": "train", "val": "valid"}, "eval": {"": "test"}}
GET: Final = "unpack https://zenodo.org/records/4060432 so that FSD50K.dev_audio/ and FSD50K.ground_truth/ lie here"
LICENCE: Final = "CC BY 4.0, each clip its own (CC0, CC BY, CC BY-NC or CC Sampling+)"
# Zenodo's record 4060432, by the authors; its md5 as soundata has it. The sound is in split zips.
ARCHIVES: Final = {
    "ground_truth": (
        "https://zenodo.org/records/4060432/files/FSD50K.ground_truth.zip",
        "md5:ca27382c195e37d2269c4c866dd73485",
        334_701,
        "",
    ),
    "dev_audio": (
        "https://zenodo.org/records/4060432/files/FSD50K.dev_audio.zip",
        "md5:c480d119b8f7a7e32fdb58f3ea4d6c5a",
        2_306_663_327,
        "",
        (
            (
                "https://zenodo.org/records/4060432/files/FSD50K.dev_audio.z01",
                "md5:faa7cf4cc076fc34a44a479a5ed862a3",
                3_221_225_472,
            ),
            (
                "https://zenodo.org/records/4060432/files/FSD50K.dev_audio.z02",
                "md5:8f9b66153e68571164fb1315d00bc7bc",
                3_221_225_472,
            ),
            (
                "https://zenodo.org/records/4060432/files/FSD50K.dev_audio.z03",
                "md5:1196ef47d267a993d30fa98af54b7159",
                3_221_225_472,
            ),
            (
                "https://zenodo.org/records/4060432/files/FSD50K.dev_audio.z04",
                "md5:d088ac4e11ba53daf9f7574c11cccac9",
                3_221_225_472,
            ),
            (
                "https://zenodo.org/records/4060432/files/FSD50K.dev_audio.z05",
                "md5:81356521aa159accd3c35de22da28c7f",
                3_221_225_472,
            ),
        ),
    ),
    "eval_audio": (
        "https://zenodo.org/records/4060432/files/FSD50K.eval_audio.zip",
        "md5:6fa47636c3a3ad5c7dfeba99f2637982",
        3_037_675_767,
        "",
        (
            (
                "https://zenodo.org/records/4060432/files/FSD50K.eval_audio.z01",
                "md5:3090670eaeecc013ca1ff84fe4442aeb",
                3_221_225_472,
            ),
        ),
    ),
}


@dataclass(frozen=True)
class Fsd50k:
    """Rows with the label `tags`, the classes of a clip joined by ','; the official train, val and eval parts.

    Every class must stand in `vocabulary.csv`.
    """

    root: str

    disjoint: ClassVar[str | None] = None
    stratify: ClassVar[str | None] = None

    def rows(self) -> list[Row]:
        """Returns the rows with splits, by id."""
        tables = [f"FSD50K.ground_truth/{name}.csv" for name in (*PARTS, "vocabulary")]
        root = _read.root(self.root, [*tables, *(f"FSD50K.{part}_audio" for part in PARTS)], GET)
        known = {line.split(",")[1] for line in _read.lines(root / tables[-1]) if line.count(",") == 2}
        rows, faults = list[Row](), list[str]()
        for (part, splits), table in zip(PARTS.items(), tables, strict=False):
            for line in _read.table(root / table, ("fname", "labels", *(["split"] if part == "dev" else []))):
                strange = {*line["labels"].split(",")} - known
                split = line.get("split", "")
                if strange or split not in splits:
                    what = f"classes {sorted(strange)}" if strange else f"split '{split}'"
                    faults.append(f"{part}.csv: {line['fname']}: unknown {what}")
                    continue
                path = root / f"FSD50K.{part}_audio" / f"{line['fname']}.wav"
                rows.append(Row(f"{part}/{line['fname']}", str(path), {"tags": line["labels"]}, splits[split]))
        _read.refuse(root / "FSD50K.ground_truth", faults)
        return _read.ordered(rows, root)
