"""A matrix as an array of jobs for Slurm: each does a share of it, and goes on where it was when started again."""

import math
import shlex
from collections.abc import Sequence
from typing import Final

from pegbox.bench.outlook import Outlook

_LARGEST_ARRAY: Final = 1000  # Slurm's own limit, where nobody changed it
_DROPPED: Final = ("--emit", "--workers", "--part")


def script(name: str, outlooks: Sequence[Outlook], command: Sequence[str], cpus: int, gpus: float) -> str:
    """Returns a script for `sbatch` that does `pegbox <command>` in as many jobs as there are methods and tasks."""
    jobs = max(1, min(sum(each.plan is not None for each in outlooks), _LARGEST_ARRAY))
    memory = max((each.memory_bytes for each in outlooks), default=0)
    own = [*_kept(command), "--workers", "1", "--part"]
    lines = [
        "#!/bin/bash",
        f"#SBATCH --job-name={shlex.quote(name)}",
        f"#SBATCH --array=1-{jobs}",
        f"#SBATCH --cpus-per-task={cpus}",
        f"#SBATCH --mem={math.ceil(memory / 2**20 / 512) * 512}M",
        *([f"#SBATCH --gres=gpu:{math.ceil(gpus)}"] if gpus else []),
        "#SBATCH --requeue",
        f"export OMP_NUM_THREADS={cpus}",
        f'pegbox {shlex.join(own)} "$SLURM_ARRAY_TASK_ID/{jobs}"',
    ]
    return "\n".join(lines)


def _kept(command: Sequence[str]) -> list[str]:
    kept, skip = [], False
    for word in command:
        option, equals, _ = word.partition("=")
        if not skip and option not in _DROPPED:
            kept.append(word)
        skip = not skip and option in _DROPPED and not equals
    return kept
