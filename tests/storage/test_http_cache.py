"""The cache of downloads: whole files by address and version, within its room, shared by processes."""

from __future__ import annotations

import errno
import multiprocessing
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from itertools import repeat
from pathlib import Path

import pytest

from tests.support.downloads import cached_sizes
from udfs.core.errors import MediaError, OutputError
from udfs.core.host_files import acquire, open_lock_file
from udfs.storage import http_cache
from udfs.storage.remote_file import Stat
from udfs.storage.retry import BusyError
from udfs.storage.settings import Params

pytestmark = pytest.mark.usefixtures("disk")
DATA = random.Random(0).randbytes(300_000)
CHUNKS = [DATA[:100_000], DATA[100_000:100_001], DATA[100_001:]]
URI = "http://host/v.mp4"
TWO_FILES = Params(http_disk_bytes=650_000)


def add(uri: str = URI, chunks: Iterable[bytes] = CHUNKS, size: int | None = len(DATA), tag: str = "one") -> int:
    """Write a file to a cache that has room for two."""
    return http_cache.add(uri, tag, chunks, size, TWO_FILES)


@pytest.mark.parametrize("uri", [URI, "https://host/a b?sig=A&x=ü", "http://host/\udcff.mp4"])
@pytest.mark.parametrize("size", [300_000, None])
def test_a_file_is_read_back_by_its_ranges(uri: str, size: int | None, disk: Path) -> None:
    assert http_cache.stat(uri, "one") is None
    assert add(uri, size=size) == 300_000
    assert http_cache.stat(uri, "one") == Stat(300_000, "300000-one")
    assert http_cache.read(uri, "300000-one", 99_990, 100_010) == DATA[99_990:100_010]
    assert http_cache.read(uri, "300000-one", 299_999, 300_000) == DATA[-1:]
    assert cached_sizes(disk) == [300_000]


def test_another_address_and_another_version_are_other_files() -> None:
    add()
    assert http_cache.read("http://host/w.mp4", "300000-one", 0, 9) is None
    assert http_cache.read(URI, "300000-two", 0, 9) is None
    assert http_cache.read(URI, "299999-one", 0, 9) is None
    assert http_cache.stat(URI, "two") is None
    add(chunks=[b"new"], size=3, tag="two")
    assert (http_cache.read(URI, "3-two", 0, 3), http_cache.read(URI, "300000-one", 0, 3)) == (b"new", DATA[:3])


def test_a_download_that_breaks_off_leaves_nothing(disk: Path) -> None:
    with pytest.raises(BusyError, match="100000 of 300000 bytes came"):
        add(chunks=CHUNKS[:1])

    def lost() -> Iterator[bytes]:
        yield DATA[:1000]
        raise BusyError("Connection reset by peer")

    with pytest.raises(BusyError, match="reset"):
        add(chunks=lost())
    assert (http_cache.stat(URI, "one"), cached_sizes(disk)) == (None, [])


@pytest.mark.parametrize("size", [300_000, None])
@pytest.mark.parametrize(
    ("limit", "params"),
    [("max_bytes", Params(max_bytes=299_999)), ("http_disk_bytes", Params(http_disk_bytes=299_999))],
)
def test_a_file_over_a_limit_is_refused_and_leaves_nothing(
    limit: str, params: Params, size: int | None, disk: Path
) -> None:
    with pytest.raises(MediaError, match=rf"TOO_LARGE: 300000 bytes or more, over sources\.{limit}"):
        http_cache.add(URI, "one", CHUNKS, size, params)
    assert cached_sizes(disk) == []


def test_a_download_without_end_is_stopped(disk: Path) -> None:
    with pytest.raises(MediaError, match="TOO_LARGE"):
        http_cache.add(URI, "one", repeat(DATA), None, Params(max_bytes=1_000_000))
    assert cached_sizes(disk) == []


def test_the_files_used_longest_ago_make_room(disk: Path) -> None:
    for name in ("a", "b"):
        add(name)
        time.sleep(0.01)
    assert http_cache.read("a", "300000-one", 0, 1) == DATA[:1]
    add("c")
    assert [http_cache.stat(name, "one") is not None for name in "abc"] == [True, False, True]
    assert cached_sizes(disk) == [300_000, 300_000]


def test_a_download_of_another_process_keeps_its_room_until_that_is_killed(disk: Path) -> None:
    add("a")
    with open(disk / "other.part", "wb") as part:
        part.truncate(400_000)
        assert acquire(part.fileno(), wait=False)
        with pytest.raises(BusyError, match=r"other downloads leave no room in sources\.http_disk_bytes"):
            add("b")
    assert add("b") == 300_000  # the lock of a process ends with it
    assert cached_sizes(disk) == [300_000]


def test_a_download_of_another_process_that_ends_while_room_is_made_is_no_error(
    disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add("a")
    (disk / "other.part").touch()
    scandir = os.scandir

    def listed_before_it_ended(folder: Path) -> list[os.DirEntry[str]]:
        files = [*scandir(folder)]
        (disk / "other.part").unlink(missing_ok=True)
        return files

    monkeypatch.setattr(os, "scandir", listed_before_it_ended)
    assert add("b") == 300_000


def test_a_cache_that_is_cleaned_away_is_made_again(disk: Path) -> None:
    add("a")
    shutil.rmtree(disk)
    assert http_cache.read("a", "300000-one", 0, 1) is None
    assert add("a") == 300_000

    def cleaned_away() -> Iterator[bytes]:
        yield DATA[:1000]
        shutil.rmtree(disk)
        yield DATA[1000:]

    with pytest.raises(BusyError, match="the cache of downloads: No such file or directory"):
        add("b", cleaned_away())
    assert add("b") == 300_000
    assert not acquire(open_lock_file(disk / ".users"), wait=False)


def test_a_full_disk_is_no_failure_of_a_video() -> None:
    def full() -> Iterator[bytes]:
        yield DATA[:1000]
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OutputError, match="No space left on device: the output, or the temporary directory"):
        add(chunks=full())


def names_after_adding(folder: str) -> list[str]:
    """In a process of its own: add a file; the names in the cache."""
    tempfile.tempdir = folder
    add()
    return [file.name for file in http_cache._folder().iterdir() if not file.name.startswith(".")]


def test_the_last_process_deletes_the_cache_and_the_next_one_what_a_killed_process_left(
    disk: Path, tmp_path: Path
) -> None:
    disk.mkdir(mode=0o700)
    (disk / "left.part").write_bytes(b"x")
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        shown = pool.starmap(names_after_adding, [(str(tmp_path),)] * 4)
        pool.close()
        pool.join()
    # Both may have written it at once.
    whole = {name for names in shown for name in names if not name.endswith(".part")}
    assert len(whole) == 1
    assert not any("left.part" in names for names in shown)
    assert cached_sizes(disk) == []


WORKER = """
import os
from udfs.storage import http_cache
from udfs.storage.settings import Params
http_cache.add("a", "one", [b"data"], 4, Params())
os._exit(0)
"""


def test_the_last_run_deletes_what_its_workers_cannot(disk: Path, tmp_path: Path) -> None:
    with http_cache.emptied_at_end():
        with http_cache.emptied_at_end():
            subprocess.run([sys.executable, "-c", WORKER], env=os.environ | {"TMPDIR": str(tmp_path)}, check=True)
        assert cached_sizes(disk) == [4]
        (disk / "left.part").touch()
        part = open_lock_file(disk / "other.part")
        acquire(part)
    assert [path.name for path in disk.iterdir() if not path.name.startswith(".")] == ["other.part"]
    os.close(part)


FORKED = """
import os, sys
from udfs.storage import http_cache
from udfs.storage.settings import Params
http_cache.add("a", "one", [b"data"], 4, Params())
if os.fork() == 0:
    sys.exit()
os.wait()
print(http_cache.read("a", "4-one", 0, 4))
"""


def test_a_forked_process_that_ends_deletes_nothing(tmp_path: Path) -> None:
    env = os.environ | {"TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", FORKED], env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "b'data'\n"), done.stderr
