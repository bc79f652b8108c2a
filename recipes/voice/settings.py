"""Writes the symbols and scales of a checkpoint that has none: `python recipes/voice/settings.py FOLDER --corpus SPEC`.

A published `fastspeech2_conformer` has its symbols in `vocab.json` and its scales nowhere. FOLDER is a copy of one; the
scales are those of the corpus that it was taught with, whose clips have the labels `phonemes`, in these symbols, and
`times`. The frames are ESPnet's for 22.05 kHz unless the options say otherwise. Writes `preprocessor_config.json`.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any, Final

from pegbox import corpora, rows
from pegbox.errors import PegboxError, RecipeError
from pegbox.mel import Analysis
from pegbox.training.script import PAUSE, Script, raw, scaled, spans, told

SETTINGS: Final = "preprocessor_config.json"
MOST: Final = 500  # clips whose frames make the scales


def main() -> None:
    """Reads the clips and writes the settings; refuses to replace any."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--corpus", required=True, help='such as manifest(path="lj.csv")')
    parser.add_argument("--pause", default=",", help="the symbol that stands where nobody speaks")
    parser.add_argument("--language", default="en-us", help="of eSpeak NG")
    for name, value in (("rate", 22_050), ("window", 1024), ("hop", 256), ("lowest", 80), ("highest", 7600)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--floor", type=float, default=1e-10, help="the amplitude in a band that is silence")
    parser.add_argument(
        "--mirrored", action=argparse.BooleanOptionalAction, default=True, help="clips go on as in a mirror"
    )
    given = parser.parse_args()
    try:
        write(given.folder, script(given))
    except (PegboxError, OSError) as problem:
        sys.exit(f"settings: {problem}")


def script(given: argparse.Namespace) -> Script:
    """Returns the symbols of the checkpoint and the scales of the corpus."""
    config: dict[str, Any] = json.loads((given.folder / "config.json").read_text(encoding="utf-8"))
    known = symbols(given.folder / "vocab.json", given.pause)
    named = {name: getattr(given, name) for name in ("rate", "window", "hop", "floor", "lowest", "highest", "mirrored")}
    analysis = Analysis(bands=int(config["num_mel_bins"]), **named)
    found = [row for row in corpora.build(given.corpus).rows() if row.split == "train" and "times" in row.labels]
    if not found:
        raise RecipeError(f"{given.corpus}: no training clip has the label 'times'")
    some = found[:: max(1, len(found) // MOST)][:MOST]
    heard = [raw(rows.wave(row, given.rate), spans(row.labels["times"], row.id), analysis, row.id) for row in some]
    made = scaled(heard, known, given.language, analysis)
    for clip, row in zip(heard, some, strict=True):
        made.numbers(clip.symbols, row.id)
    return made


def symbols(vocabulary: Path, pause: str) -> tuple[str, ...]:
    """Returns the symbols of a `vocab.json` from the number 1 on; 0 is padding."""
    numbers: dict[str, int] = json.loads(vocabulary.read_text(encoding="utf-8"))
    if sorted(numbers.values()) != list(range(len(numbers))) or not numbers.get(pause):
        raise RecipeError(f"{vocabulary}: its symbols are not numbered from 0, or {pause!r} is none behind the padding")
    if pause != PAUSE and PAUSE in numbers:
        raise RecipeError(f"{vocabulary}: {PAUSE!r} is a symbol of its own, and --pause {pause!r} would be it, too")
    ordered = sorted(numbers, key=numbers.__getitem__)[1:]
    return tuple(PAUSE if symbol == pause else symbol for symbol in ordered)


def write(folder: Path, made: Script) -> None:
    """Writes the settings into a folder that has none."""
    place = folder / SETTINGS
    if place.exists():
        raise RecipeError(f"{place} is there already; take it away first")
    place.write_text(json.dumps(told(made), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    print(f"{place}: {len(made.symbols)} symbols, ln Hz {made.pitch[0]:.3f} ± {made.pitch[1]:.3f}")


if __name__ == "__main__":
    main()
