"""The demo: the `tiny` encoder that comes with Pegbox, tuned by several methods on clips that Pegbox makes itself."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

METHODS: Final = ("linear_probe", "weighted_sum", "bitfit", "lora(rank=8)", "bottleneck(size=32)", "full")
TASKS: Final[Mapping[str, Mapping[str, Any]]] = {
    "speakers": {"task": 'classify(label="voice")', "corpus": "synthetic_speakers"},
    "sounds": {"task": 'classify(label="event")', "corpus": "synthetic_sounds"},
}
_PROBES: Final = ("linear_probe", "weighted_sum")  # whose epochs are a hundred times cheaper
_CAPTION: Final = "test: accuracy; trained: numbers in the backbone, and their share of it"
HEARD: Final = {
    "synthetic_keywords": "word",
    "synthetic_speakers": "voice",
    "synthetic_intents": "transcript",
    "synthetic_sentences": "transcript",
    "synthetic_emotions": "emotion",
    "synthetic_dialogues": "turns",
    "synthetic_sounds": "event",
    "synthetic_music": "genre",
}


@dataclass(frozen=True)
class Job:
    """One row of the table: a task's name, and the settings of its recipe."""

    name: str
    settings: dict[str, Any]

    @property
    def method(self) -> str:
        """The method's spec."""
        return str(self.settings["method"])


def jobs(methods: Sequence[str] = METHODS) -> list[Job]:
    """Returns what the demo runs: every method on every task."""
    return [
        Job(name, {"backbone": "tiny", "method": method, "train": _train(name, method), **task})
        for name, task in TASKS.items()
        for method in methods
    ]


def _train(task: str, method: str) -> dict[str, int]:
    if method in _PROBES:
        return {"epochs": 60}
    return {"epochs": 4 if method == "full" else 8 if task == "speakers" else 6, "batch_clips": 8}


def show(out: Path, methods: Sequence[str] = METHODS) -> None:
    """Runs the demo's jobs, prints their table, draws them, and predicts on a clip."""
    from pegbox import corpora
    from pegbox.curves import compare

    console = Console()
    for task in TASKS.values():
        corpora.build(task["corpus"]).rows()
    found = [(job, run_job(job, out)) for job in jobs(methods)]
    table = Table("task", "method", "test", "trained", "share", "seconds", "kB kept", caption=_CAPTION)
    for job, result in found:
        table.add_row(*_row(job, result), end_section=job.method == methods[-1])
    console.print(table)
    compare(
        {name: {job.method: result for job, result in found if job.name == name} for name in TASKS},
        "Pegbox demo: the tiny encoder on clips made by Pegbox",
        out / "demo.png",
    )
    console.print(f"picture: {out / 'demo.png'}")
    _predict(*max((pair for pair in found if pair[0].name == "sounds"), key=_validation), out, console)


def run_job(job: Job, folder: Path) -> dict[str, Any]:
    """Returns the result of a job, run now unless it is finished in `folder` already."""
    from pegbox import run
    from pegbox.progress import Display, read_result

    out = place(job, folder)
    print(f"{job.name}: {job.method}", file=sys.stderr)
    if not (out / "result.json").exists():
        with Display(brief=True) as display:
            run.train(job.settings, out, display.listen)
    return read_result(out)


def place(job: Job, folder: Path) -> Path:
    """Returns where a job's run lies."""
    return folder / f"{job.name}-{job.method.partition('(')[0]}"


def listen(out: Path) -> Iterator[tuple[Path, str]]:
    """Writes a few clips of several synthetic corpora as WAV files; yields each path and what is heard."""
    import soundfile

    from pegbox import audio, corpora

    out.mkdir(parents=True, exist_ok=True)
    for name, label in HEARD.items():
        rows = corpora.build(name).rows()
        for row in rows[:: max(1, len(rows) // 3)][:3]:
            path = out / f"{name.removeprefix('synthetic_')}-{row.id}.wav"
            soundfile.write(path, audio.read(row.audio, 16_000), 16_000, subtype="PCM_16")
            yield path, row.labels[label]


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a table as Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _row(job: Job, result: Mapping[str, Any]) -> list[str]:
    sizes, (trial,) = result["parameters"], result.get("trials", [result])
    return [
        job.name,
        job.method,
        f"{trial['scores']['test']['accuracy']:.3f}",
        f"{sizes['delta']:,}",
        f"{sizes['share']:.2%}",
        f"{sum(result['seconds'].values()):.0f}",
        f"{result['artefact_bytes'] / 1e3:,.0f}",
    ]


def _validation(pair: tuple[Job, Mapping[str, Any]]) -> float:
    return float(pair[1]["scores"]["valid"]["accuracy"])


def _predict(job: Job, result: Mapping[str, Any], out: Path, console: Console) -> None:
    from pegbox import corpora
    from pegbox.run import load

    clip = next(row for row in corpora.build(job.settings["corpus"]).rows() if row.split == "test")
    (said,) = load(place(job, out)).predict([clip.audio])
    chance = said["probabilities"][said["said"]]
    console.print(f"predict {clip.audio}")
    console.print(f"  {job.method} says '{said['said']}' ({chance:.0%}); the clip is '{clip.labels['event']}'")
