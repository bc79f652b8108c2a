"""A matrix that is killed at random moments beside an unbroken one: `python benchmarks/matrix.py --out runs/matrix`.

Runs a suite twice: in a cold cache without any interruption, then in the cache that it left, killed several times with
all its processes and started again. Compares every run's scores and counts runs that were done twice.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any


def main() -> None:
    """Runs both and prints what came of it as a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="runs and cache go here")
    parser.add_argument("--suite", default="synthetic_small")
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--on", default="local", choices=["local", "ray"], help="where the second one runs")
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    environment = os.environ | {"PEGBOX_CACHE": str(given.out.resolve() / "cache")}
    first, second = given.out / "unbroken", given.out / "killed"
    words = ["--workers", str(given.workers)]
    kept = given.out / "cold.json"  # how long the unbroken one took: it is not run again
    if not kept.exists():
        kept.write_text(json.dumps(_finish(_start(given.suite, first, words, environment))))
    cold = json.loads(kept.read_text())
    draw, spent, moments = random.Random(0), 0.0, {}
    words += ["--on", given.on]
    for _ in range(given.kills):
        spent += _kill(_start(given.suite, second, words, environment), second, draw.uniform(0, cold / given.kills / 2))
        moments |= {path: path.stat().st_mtime_ns for path in second.glob("runs/*/result.json") if path not in moments}
    warm = spent + _finish(_start(given.suite, second, words, environment))
    twice = sum(path.stat().st_mtime_ns != moment for path, moment in moments.items())
    one, other = _scores(first), _scores(second)
    print("| | minutes | runs | scores that differ | done twice |\n| --- | --- | --- | --- | --- |")
    print(f"| unbroken, cold cache | {cold / 60:.1f} | {len(one)} | | |")
    differing = sum(one.get(name) != scores for name, scores in other.items()) + len(one.keys() - other.keys())
    print(f"| killed {given.kills} times, warm cache | {warm / 60:.1f} | {len(other)} | {differing} | {twice} |")


def _start(suite: str, out: Path, words: list[str], environment: dict[str, str]) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "pegbox", "bench", suite, "--out", str(out), *words]
    return subprocess.Popen(command, env=environment, start_new_session=True)


def _finish(process: "subprocess.Popen[bytes]") -> float:
    started = time.monotonic()
    if process.wait():
        sys.exit(process.returncode)
    return time.monotonic() - started


def _kill(process: "subprocess.Popen[bytes]", out: Path, seconds: float) -> float:
    """Kills it that long after it began to write on a run; returns how long it lived."""
    started, clock = time.time(), time.monotonic()
    while process.poll() is None and not _written_since(out, started):
        time.sleep(0.2)
    time.sleep(seconds)
    if process.poll() is not None:
        sys.exit(f"{out}: ended with {process.returncode} before it could be killed; fewer --kills leave more to do")
    os.killpg(process.pid, signal.SIGKILL)  # the workers are of the same group
    process.wait()
    return time.monotonic() - clock


def _written_since(out: Path, moment: float) -> bool:
    return any(path.stat().st_mtime > moment for path in out.glob("runs/*/log.jsonl"))


def _scores(out: Path) -> dict[str, Any]:
    """What came of each run, by its name without the digest, which another version of Pegbox may count otherwise."""
    found = {
        path.parent.name.rpartition("-")[0]: json.loads(path.read_text()) for path in out.glob("runs/*/result.json")
    }
    return {name: (result["scores"], result["best_step"], result["steps"]) for name, result in found.items()}


if __name__ == "__main__":
    main()
