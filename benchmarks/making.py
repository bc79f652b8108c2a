"""How fast synthetic clips are made: `python benchmarks/making.py` prints seconds of sound a CPU second, one core."""

import argparse
import os
import resource
import tempfile

from pegbox import corpora, registry
from pegbox.demo import markdown
from pegbox.rows import seconds


def main() -> None:
    """Makes every synthetic corpus once in a scratch folder and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="small", choices=["small", "medium"])
    given = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for name in (name for name in registry.names("corpora") if name.startswith("synthetic_")):
            before = _used()
            made = corpora.build(f'{name}(size="{given.size}", root="{scratch}")').rows()
            used, sound = _used() - before, sum(map(seconds, made))
            rows.append([name, str(len(made)), f"{sound:.0f}", f"{used:.1f}", f"{sound / used:.0f}"])
    print(markdown(["corpus", "clips", "seconds of sound", "CPU seconds, start included", "times real time"], rows))


def _used() -> float:
    """Returns the CPU seconds of all child processes so far: each corpus is made by one."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return children.ru_utime + children.ru_stime


if __name__ == "__main__":
    main()
