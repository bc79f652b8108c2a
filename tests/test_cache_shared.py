"""One cache, several processes: nothing computed twice, nobody in the way of the others, dead or alive."""

import json
import multiprocessing
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock

from pegbox import backbones
from pegbox.rows import Row
from pegbox.training.cache import Layout, StateCache

LAYOUT = Layout("states", (0, 1, 2), 16, "fp32")
FORK = multiprocessing.get_context("fork")


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # the threads of the parent are not in a fork
    yield
    torch.set_num_threads(before)


@pytest.fixture
def rows(tones: Path) -> list[Row]:
    files = sorted(tones.rglob("*.flac"))
    return [Row(f"{n}", str(files[n % 36]), {}, "train", start=0.001 * (n // 36), end=0.14) for n in range(144)]


@pytest.fixture
def cache(hubert: Path, tmp_path: Path) -> StateCache:
    return StateCache(tmp_path / "cache", backbones.load(str(hubert)), LAYOUT)


def fresh(cache: StateCache) -> StateCache:
    return StateCache(cache.folder.parent, cache.backbone, LAYOUT)


def check_whole(cache: StateCache, rows: list[Row]) -> None:
    """Everything is stored, once, as it is computed, and nothing else lies about."""
    filled = fresh(cache)
    assert filled.missing(rows) == []
    keys = [key for index in cache.folder.glob("*.json") for key in json.loads(index.read_text())]
    assert len(keys) == len(set(keys)) == len(rows)
    for row in rows[::29]:
        torch.testing.assert_close(filled.get(row), filled.compute(row)[0], rtol=0, atol=1e-6)
    files = {path.name for path in cache.folder.iterdir() if path.is_file()}
    assert files == {f"{path.stem}{end}" for path in cache.folder.glob("*.json") for end in (".json", ".bin")}


def test_two_at_once_compute_each_clip_once(
    cache: StateCache, rows: list[Row], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pegbox.training.cache._PORTION", 8)
    start, told = FORK.Barrier(2), FORK.SimpleQueue()

    def work() -> None:
        start.wait()
        told.put(len(list(cache.fill(rows))))  # it yields once a clip that it computes

    both = [FORK.Process(target=work) for _ in range(2)]
    for each in both:
        each.start()
    for each in both:
        each.join(60)
    assert [each.exitcode for each in both] == [0, 0]
    assert told.get() + told.get() == len(rows)
    check_whole(cache, rows)


def test_what_another_computes_is_waited_for(
    cache: StateCache, rows: list[Row], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pegbox.training.cache._PORTION", 8)
    begun, goes_on, told = FORK.Event(), FORK.Event(), FORK.SimpleQueue()

    def slow() -> None:
        filling = cache.fill(rows)
        next(filling)
        begun.set()
        goes_on.wait()
        told.put(1 + len(list(filling)))

    def quick() -> None:
        told.put(len(list(cache.fill(rows))))

    first, second = FORK.Process(target=slow), FORK.Process(target=quick)
    first.start()
    assert begun.wait(60)
    second.start()
    while len(left := fresh(cache).missing(rows)) > 64:  # the stripes of 8 clips are held, which may be a few more
        time.sleep(0.02)
    second.join(1.0)
    assert left and second.is_alive() and first.is_alive(), "it must wait: what is left is being computed"
    goes_on.set()
    for each in (first, second):
        each.join(60)
        assert each.exitcode == 0
    assert told.get() + told.get() == len(rows)
    check_whole(cache, rows)


def test_a_killed_writer_is_in_nobodys_way(cache: StateCache, rows: list[Row], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pegbox.training.cache._PORTION", len(rows))  # all in one shard
    writer = FORK.Process(target=lambda: list(cache.fill(rows)))
    writer.start()
    while not any(part.stat().st_size for part in cache.folder.glob("*.part")) and writer.is_alive():
        time.sleep(0.001)
    writer.kill()
    writer.join(60)
    assert writer.exitcode == -signal.SIGKILL and list(cache.folder.glob("*.part")), "it was too fast for this test"
    assert len(fresh(cache).missing(rows)) == len(rows)
    assert len(list(fresh(cache).fill(rows))) == len(rows)
    check_whole(cache, rows)


def test_only_what_the_dead_have_left_is_removed(cache: StateCache, rows: list[Row]) -> None:
    list(cache.fill(rows[:8]))
    left = ("07-a.part", "07-b.bin", "07-b.json.part", "08-c.part")
    for name in left:
        (cache.folder / name).write_bytes(b"half")
    with FileLock(cache.folder / "locks" / "08.lock"):  # whoever writes the last of them is alive
        fresh(cache)._claims.sweep()
        assert [name for name in left if (cache.folder / name).exists()] == ["08-c.part"]
    fresh(cache)._claims.sweep()
    check_whole(cache, rows[:8])


def test_the_parts_of_several_processes_are_all_there_is(cache: StateCache, rows: list[Row]) -> None:
    parts = [cache.part(rows, index, 3) for index in range(3)]
    assert sorted(row.id for part in parts for row in part) == sorted(row.id for row in rows)
    assert all(len(rows) / 6 < len(part) < len(rows) / 2 for part in parts)
