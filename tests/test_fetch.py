"""Fetching a corpus: a miniature of LibriSpeech from a server of this machine, by a plug-in that says where it lies."""

import hashlib
import io
import os
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from _layouts import checked, sizes, sounds, text

from pegbox import corpora, registry
from pegbox.corpora import _fetch
from pegbox.errors import CorpusError, RecipeError

pytest.importorskip("pooch", reason="the extra [fetch] is not installed")
ROOT = Path(__file__).parents[1]
PARTS = {"train-clean-100": "10", "dev-clean": "20", "test-clean": "30"}
READERS = ("folder", "hub", "manifest", "rttm")


class Server:
    """Serves `files` by path and counts what was asked for; of a path in `cut` it sends a half and then waits."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.cut: set[str] = set()
        self.half, self.go_on = threading.Event(), threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                data = outer.files.get(self.path)
                self.send_response(200 if data is not None else 404)
                self.send_header("Content-Length", str(len(data or b"")))
                self.end_headers()
                if self.path in outer.cut:
                    self.wfile.write((data or b"")[: len(data or b"") // 2])
                    self.wfile.flush()
                    outer.half.set()
                    outer.go_on.wait(60)
                else:
                    self.wfile.write(data or b"")

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.go_on.set()
        self.http.shutdown()
        self.http.server_close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "*")
    made = Server()
    yield made
    made.close()


def part(folder: Path, name: str, speaker: str) -> bytes:
    """Returns a tar archive of one part of LibriSpeech, of one clip."""
    clip = f"{speaker}-1-0000"
    place = folder / "LibriSpeech" / name / speaker / "1"
    sounds(place, f"{clip}.flac")
    text(place / f"{speaker}-1.trans.txt", f"{clip} HELLO")
    text(folder / "LibriSpeech" / "README.TXT", f"of {name}")
    return packed(lambda tar: tar.add(folder / "LibriSpeech", "LibriSpeech"))


def packed(fill: Callable[[tarfile.TarFile], object]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        fill(tar)
    return buffer.getvalue()


def plug_in(place: Path, server: Server, files: dict[str, bytes], checksums: dict[str, str] | None = None) -> None:
    """Writes the corpus `mini` as another package would install it: parts are names of archives."""
    server.files = {f"/{name}": data for name, data in files.items()}
    address = f"http://127.0.0.1:{server.http.server_port}"
    listed = {
        name.partition(".")[0]: (
            f"{address}/{name}",
            (checksums or {}).get(name, "sha256:" + hashlib.sha256(data).hexdigest()),
            len(data),
            "",
        )
        for name, data in files.items()
    }
    text(
        place / "mini_corpus.py",
        '"""A miniature."""',
        "from typing import Final",
        f"ARCHIVES: Final = {listed!r}",
        'LICENCE: Final = "CC0"',
    )
    text(place / "mini-0.1.dist-info" / "METADATA", "Metadata-Version: 2.1", "Name: mini", "Version: 0.1")
    text(place / "mini-0.1.dist-info" / "entry_points.txt", "[pegbox.corpora]", "mini = mini_corpus")


@pytest.fixture
def installed(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A plug-in whose parts are those of LibriSpeech; returns the folder it lies in."""
    place = tmp_path / "site"
    plug_in(place, server, {f"{name}.tar.gz": part(tmp_path / name, name, who) for name, who in PARTS.items()})
    monkeypatch.syspath_prepend(str(place))
    return place


def left(root: Path) -> list[str]:
    """Returns the files below a root, without the lock."""
    return sorted(
        path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file() and path.stem != "lock"
    )


def test_parts_are_fetched_once_unpacked_and_read(installed, server, tmp_path):
    root = tmp_path / "data"
    found = corpora.fetch("mini", root, list(PARTS))
    assert [(each.part, each.place, each.files, each.fresh) for each in found] == [(n, root, 3, True) for n in PARTS]
    assert sizes(checked("librispeech", root=str(root))) == (1, 1, 1)
    assert not [name for name in left(root) if name.endswith(".tar.gz")]
    assert server.asked == [f"/{name}.tar.gz" for name in PARTS]
    again = corpora.fetch("mini", root, list(PARTS))
    assert [each.fresh for each in again] == [False] * 3 and len(server.asked) == 3


def test_what_was_damaged_is_fetched_again_and_alone(installed, server, tmp_path):
    corpora.fetch("mini", tmp_path / "data", list(PARTS))
    clip = tmp_path / "data/LibriSpeech/dev-clean/20/1/20-1-0000.flac"
    whole = clip.read_bytes()
    clip.write_bytes(whole[:-1])
    fresh = [each.part for each in corpora.fetch("mini", tmp_path / "data", list(PARTS)) if each.fresh]
    assert fresh == ["dev-clean"] and clip.read_bytes() == whole and server.asked[3:] == ["/dev-clean.tar.gz"]


def test_another_checksum_leaves_nothing_and_names_both(installed, server, tmp_path):
    wrong = "0" * 64
    files = {name[1:]: data for name, data in server.files.items()}
    plug_in(installed, server, files, {"dev-clean.tar.gz": f"sha256:{wrong}"})
    with pytest.raises(CorpusError, match=r"dev-clean\.tar\.gz") as refused:
        corpora.fetch("mini", tmp_path / "data", ["dev-clean"])
    assert wrong in str(refused.value)
    assert hashlib.sha256(files["dev-clean.tar.gz"]).hexdigest() in str(refused.value)
    assert left(tmp_path / "data") == []


def test_an_archive_put_there_by_hand_is_checked_and_used(installed, server, tmp_path):
    root = tmp_path / "data"
    root.mkdir()
    by_hand = root / "dev-clean.tar.gz"
    by_hand.write_bytes(b"half")
    with pytest.raises(CorpusError, match=r"dev-clean\.tar\.gz: sha256 [0-9a-f]{64}, expected [0-9a-f]{64}"):
        corpora.fetch("mini", root, ["dev-clean"])
    by_hand.write_bytes(server.files["/dev-clean.tar.gz"])
    (found,) = corpora.fetch("mini", root, ["dev-clean"])
    assert found.fresh and by_hand.is_file() and server.asked == []


def test_a_torn_download_leaves_nothing_and_the_next_call_mends_it(installed, server, tmp_path):
    server.cut = {"/dev-clean.tar.gz"}
    server.go_on.set()
    with pytest.raises(CorpusError, match=r"dev-clean\.tar\.gz: .*; try again, or put dev-clean\.tar\.gz into"):
        corpora.fetch("mini", tmp_path / "data", ["dev-clean"])
    assert left(tmp_path / "data") == []
    server.cut = set()
    assert corpora.fetch("mini", tmp_path / "data", ["dev-clean"])[0].fresh
    server.files = {}
    with pytest.raises(CorpusError, match="404"):
        corpora.fetch("mini", tmp_path / "data", ["test-clean"])


def command(site: Path, *words: object) -> "subprocess.Popen[str]":
    script = "from pegbox.cli import main; main()"
    paths = os.pathsep.join([str(site), str(ROOT)])
    return subprocess.Popen(
        [sys.executable, "-c", script, "corpus", "fetch", *map(str, words)],
        env=os.environ | {"PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_command_and_its_interruption(installed, server, tmp_path):
    root = tmp_path / "data"
    server.cut = {"/dev-clean.tar.gz"}
    running = command(installed, "mini", root, "--part", "test-clean", "--part", "dev-clean")
    assert server.half.wait(120), running.communicate()
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=120)
    assert running.returncode != 0
    assert [name for name in left(root) if "dev-clean" in name or "tmp" in name] == []
    server.cut = set()
    server.go_on.set()
    done = command(installed, "mini", root, "--part", "test-clean", "--part", "dev-clean")
    out, err = done.communicate(timeout=120)
    assert done.returncode == 0, err
    assert re.search(r"test-clean: 3 files in .*, lies there whole; licence: CC0", out)
    assert re.search(r"dev-clean: 3 files in .*, fetched, the checksum is right; licence: CC0", out)
    assert f"next: pegbox corpus check mini {root}" in out


def test_leftovers_of_a_killed_run_are_swept(installed, tmp_path):
    state = tmp_path / "data" / ".pegbox"
    text(state / "unpacked" / "LibriSpeech" / "dev-clean" / "9" / "9.txt", "half")
    text(state / "tmp1234", "half")
    corpora.fetch("mini", tmp_path / "data", ["dev-clean"])
    assert not (tmp_path / "data/LibriSpeech/dev-clean/9").exists()
    assert left(state) == ["dev-clean.tar.gz.txt"]


def outside(kind: str) -> bytes:
    if kind == "zip":
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as zipped:
            zipped.writestr("../outside.txt", "x")
        return buffer.getvalue()
    member = tarfile.TarInfo("../outside.txt" if kind == "name" else "link")
    if kind == "link":
        member.type, member.linkname = tarfile.SYMTYPE, "/etc"
    return packed(lambda tar: tar.addfile(member))


@pytest.mark.parametrize("kind", ["zip", "name", "link"])
def test_what_leads_out_of_the_root_is_refused(kind, installed, server, tmp_path):
    plug_in(installed, server, {"evil.zip" if kind == "zip" else "evil.tar.gz": outside(kind)})
    root = tmp_path / "deep" / "data"
    with pytest.raises(CorpusError, match=r"evil.* cannot be unpacked into"):
        corpora.fetch("mini", root)
    assert not list((tmp_path / "deep").rglob("outside*")) and not (root / "link").is_symlink()
    assert left(root) == [".pegbox/evil.zip" if kind == "zip" else ".pegbox/evil.tar.gz"]


def test_a_zip_of_one_part_needs_no_name(installed, server, tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as zipped:
        zipped.writestr("wav/a.txt", "x")
    plug_in(installed, server, {"all.zip": buffer.getvalue()})
    assert corpora.fetch("mini", tmp_path / "data")[0].files == 1
    assert (tmp_path / "data/wav/a.txt").read_text() == "x"


def split(folder: Path, sounds_in: int, size: int) -> dict[str, bytes]:
    """Returns name → bytes of the volumes of a split zip: places count from the start of their volume."""
    draw, buffer = random.Random(0), io.BytesIO(b"PK\7\10")
    buffer.seek(4)
    with zipfile.ZipFile(buffer, "a") as zipped:
        for number in range(sounds_in):
            zipped.writestr(f"wav/{number}.txt", draw.randbytes(700))
        zipped.comment, begin = b"of a miniature", zipped.start_dir
    whole = bytearray(buffer.getvalue())
    (offset,) = struct.unpack_from("<L", whole, len(whole) - len(b"of a miniature") - 6)
    place, edge = offset, offset // size * size  # the list of contents stays in the last volume
    while whole[place : place + 4] == b"PK\1\2":
        names = sum(struct.unpack_from("<3H", whole, place + 28))
        (at,) = struct.unpack_from("<L", whole, place + 42)
        volume = min(at, edge) // size
        struct.pack_into("<H", whole, place + 34, volume)
        struct.pack_into("<L", whole, place + 42, at - volume * size)
        place += 46 + names
    struct.pack_into("<L", whole, len(whole) - len(b"of a miniature") - 6, offset - edge)
    cuts = [whole[start : start + size] for start in range(0, edge, size)]
    assert begin and len(cuts) > 2
    return {f"all.z{number:02d}": bytes(part) for number, part in enumerate(cuts, 1)} | {"all.zip": bytes(whole[edge:])}


def volumed(place: Path, server: Server, files: dict[str, bytes]) -> None:
    """Writes the corpus `mini` with a split archive."""
    plug_in(place, server, {"all.zip": files["all.zip"]})
    server.files = {f"/{name}": data for name, data in files.items()}
    listed = (place / "mini_corpus.py").read_text()
    address = f"http://127.0.0.1:{server.http.server_port}"
    earlier = [
        (f"{address}/{name}", "md5:" + hashlib.md5(data).hexdigest(), len(data))
        for name, data in files.items()
        if name != "all.zip"
    ]
    (place / "mini_corpus.py").write_text(listed.replace(", '')", f", '', {tuple(earlier)!r})"))


def test_a_split_zip_is_unpacked_from_its_volumes(installed, server, tmp_path):
    volumed(installed, server, split(tmp_path, 20, 3001))
    (found,) = corpora.fetch("mini", tmp_path / "data")
    draw = random.Random(0)
    assert found.files == 20
    for number in range(20):
        assert (tmp_path / f"data/wav/{number}.txt").read_bytes() == draw.randbytes(700)
    assert [name for name in left(tmp_path / "data") if "all" in name] == [".pegbox/all.zip.txt"]
    assert not corpora.fetch("mini", tmp_path / "data")[0].fresh and len(server.asked) == len(server.files)


def test_a_split_zip_that_lacks_a_volume_is_refused(installed, server, tmp_path):
    files = split(tmp_path, 20, 3001)
    volumed(installed, server, files | {"all.z02": b""})
    with pytest.raises(CorpusError, match=r"all\.zip: cannot be unpacked into"):
        corpora.fetch("mini", tmp_path / "data")
    assert not (tmp_path / "data/wav").exists()
    volumed(installed, server, {name: data for name, data in files.items() if name != "all.z01"})
    with pytest.raises(CorpusError, match=r"all\.zip: cannot be unpacked into"):
        corpora.fetch("mini", tmp_path / "other")


@pytest.mark.skipif(not shutil.which("zip"), reason="Info-ZIP is not installed")
def test_what_info_zip_has_split_is_read(tmp_path):
    draw = random.Random(1)
    for number in range(40):
        text(tmp_path / "wav" / f"{number}.txt", draw.randbytes(4000).hex())
    subprocess.run(["zip", "-q", "-r", "-s", "64k", "all.zip", "wav"], cwd=tmp_path, check=True)
    volumes = [*sorted(tmp_path.glob("all.z[0-9]*")), tmp_path / "all.zip"]
    assert len(volumes) > 2
    _fetch.unpack(volumes, tmp_path / "out")
    for path in (tmp_path / "wav").iterdir():
        assert (tmp_path / "out" / "wav" / path.name).read_text() == path.read_text()


def test_too_little_room_is_said_before_anything_is_asked_for(installed, server, tmp_path):
    listed = (installed / "mini_corpus.py").read_text()
    size = len(server.files["/dev-clean.tar.gz"])
    (installed / "mini_corpus.py").write_text(listed.replace(f"{size}, ''", "900000000000000000, ''"))
    with pytest.raises(CorpusError, match=r"data: [\d.]+ GB free, at least 1800000000.00 GB needed; make room"):
        corpora.fetch("mini", tmp_path / "data", ["dev-clean"])
    assert server.asked == []


def test_a_python_without_the_guard_unpacks_no_tar(installed, server, tmp_path, monkeypatch):
    monkeypatch.delattr(tarfile, "data_filter")
    with pytest.raises(CorpusError, match=r"cannot be unpacked.*3\.11\.4"):
        corpora.fetch("mini", tmp_path / "data", ["dev-clean"])


def test_a_root_that_is_no_folder_is_refused(installed, tmp_path):
    with pytest.raises(CorpusError, match="data: cannot be written to"):
        corpora.fetch("mini", text(tmp_path / "data", "x"), ["dev-clean"])


def test_parts_are_chosen_by_name(installed, tmp_path):
    with pytest.raises(RecipeError, match=r"mini: say which parts to fetch: train-clean-100 \(0.00 GB\)"):
        corpora.fetch("mini", tmp_path / "data")
    with pytest.raises(RecipeError, match="no part 'dev-clear'; did you mean 'dev-clean'"):
        corpora.fetch("mini", tmp_path / "data", ["dev-clear"])
    with pytest.raises(RecipeError, match="unknown name 'librispeach'; did you mean 'librispeech'"):
        corpora.fetch("librispeach", tmp_path / "data")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("name", [name for name in registry.names("corpora") if not _fetch.archives(name)])
def test_what_cannot_be_fetched_says_where_to_get_it(name, tmp_path):
    with pytest.raises(CorpusError) as refused:
        corpora.fetch(name, tmp_path / "data")
    release = not name.startswith("synthetic_") and name not in READERS
    wanted = registry.literals("corpora", name)["GET"] if release else "no release with an address of its own"
    assert str(refused.value).startswith(f"{name}: cannot be fetched; ") and wanted in str(refused.value)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("name", [name for name in registry.names("corpora") if _fetch.archives(name)])
def test_what_a_corpus_says_of_its_archives(name):
    assert _fetch.licence(name)
    for archive in _fetch.archives(name).values():
        for piece in archive.pieces:
            assert piece.url.startswith("https://") and piece.size >= 0
            assert re.fullmatch(r"sha256:[0-9a-f]{64}|md5:[0-9a-f]{32}", piece.checksum)
        assert archive.file.endswith((".tar.gz", ".tgz", ".tar.bz2", ".zip"))
        assert not Path(archive.folder).is_absolute() and ".." not in Path(archive.folder).parts
