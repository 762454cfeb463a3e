"""A cache on this host's disk, shared by its processes, for files of web servers without ranges."""

from __future__ import annotations

import atexit
import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

from udfs.core import bugs
from udfs.core.errors import MediaError
from udfs.core.host_files import acquire, lock, open_lock_file, user_folder
from udfs.storage.remote_file import Stat
from udfs.storage.retry import BusyError
from udfs.storage.settings import Params

STEP_BYTES = 1 << 26  # reserved at a time where the server states no size
PART = ".part"  # suffix of a download under way, which its process keeps locked


def stat(uri: str, tag: str) -> Stat | None:
    """Size and version of a file in the cache, None if it is not there.

    `tag` is what the server changes with the file.
    """
    with suppress(FileNotFoundError):
        size = _path(uri, tag).stat().st_size
        return Stat(size, f"{size}-{tag}")
    return None


def read(uri: str, version: str, start: int, end: int) -> bytes | None:
    """The bytes [start, end) of a version, None if it is not in the cache."""
    size, _, tag = version.partition("-")
    with suppress(FileNotFoundError), _path(uri, tag).open("rb") as f:
        os.utime(f.fileno())  # the files used longest ago are removed first
        if os.fstat(f.fileno()).st_size == int(size):
            f.seek(start)
            return f.read(end - start)
    return None


def add(uri: str, tag: str, chunks: Iterable[bytes], size: int | None, params: Params) -> int:
    """Write a file of `size` bytes, or of a size that is not known, to the cache; the number of bytes written.

    Raises:
        MediaError: TOO_LARGE over sources.max_bytes or http_disk_bytes; nothing of the file stays.
        BusyError: bytes are missing, downloads of other processes leave no room, or the cache was
            cleaned away meanwhile.
        OutputError: the disk is full.
    """
    try:
        return _add(uri, tag, chunks, size, params)
    except OSError as e:
        # Neither is an error of the file, as an OSError would be taken for.
        raise bugs.run_error(e) or BusyError(f"the cache of downloads: {e.strerror or e}", answered=True) from e


def _add(uri: str, tag: str, chunks: Iterable[bytes], size: int | None, params: Params) -> int:
    handle, part = tempfile.mkstemp(dir=_folder(), suffix=PART)
    try:
        with open(handle, "wb") as f:
            acquire(f.fileno())
            num_written = _write(f.fileno(), chunks, size, params)
            if size is not None and num_written < size:
                raise BusyError(f"{num_written} of {size} bytes came", answered=True)
            f.truncate(num_written)
            os.replace(part, _path(uri, tag))
    finally:
        with suppress(FileNotFoundError):
            os.unlink(part)
    return num_written


def _write(handle: int, chunks: Iterable[bytes], size: int | None, params: Params) -> int:
    num_written, reserved = 0, _reserve(handle, size, size, params) if size else 0
    for chunk in chunks:
        if num_written + len(chunk) > reserved:
            needed = num_written + len(chunk)
            reserved = _reserve(handle, needed, needed + STEP_BYTES, params)
        num_written += os.pwrite(handle, chunk, num_written)
    return num_written


def _reserve(handle: int, least: int, most: int, params: Params) -> int:
    """Let a file grow to `most` bytes or the limit, and return its new size.

    To make room, the files that were used longest ago are removed.
    """
    limit = min(params.max_bytes, params.http_disk_bytes)
    if least > limit:
        name = "max_bytes" if limit == params.max_bytes else "http_disk_bytes"
        raise MediaError("TOO_LARGE", f"{least} bytes or more, over sources.{name}")
    size = min(most, limit)
    folder = _folder()
    with lock(folder / ".room"):
        _make_room(folder, size - os.fstat(handle).st_size, params.http_disk_bytes)
        os.truncate(handle, size)  # so that other processes count the room as taken
    return size


def _make_room(folder: Path, more: int, limit: int) -> None:
    files = []
    for file in os.scandir(folder):
        with suppress(FileNotFoundError):  # its own process has renamed or removed it meanwhile
            if not file.name.startswith("."):
                files.append((file.path, file.stat()))
    excess = sum(info.st_size for _, info in files) + more - limit
    for path, info in sorted(files, key=lambda file: file[1].st_mtime_ns):
        if excess <= 0:
            return
        with suppress(FileNotFoundError):
            if not path.endswith(PART) or _is_abandoned(path):
                os.unlink(path)  # a process that has it open can still read it
                excess -= info.st_size
    if excess > 0:
        raise BusyError("other downloads leave no room in sources.http_disk_bytes", answered=True)


def _is_abandoned(path: str) -> bool:
    """Whether no process writes an unfinished file any more, because its process was killed."""
    with open(path, "rb") as f:
        return acquire(f.fileno(), wait=False)


def _path(uri: str, tag: str) -> Path:
    hashes = (hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:32] for text in (uri, tag))
    return _folder() / "-".join(hashes)


@contextmanager
def emptied_at_end() -> Iterator[None]:
    """Empty the cache at the end of a run, unless another run of this user on this host is at work.

    Spark's workers end without notice, so that none of them can be the last one to do it.
    """
    folder = user_folder("downloads")
    handle = open_lock_file(folder / ".runs")
    try:
        acquire(handle, shared=True)
        yield
    finally:
        if acquire(handle, wait=False):
            _empty(folder)
        os.close(handle)


def _folder() -> Path:
    """The folder of this user's downloads.

    It is emptied when the first process begins, and when the last one ends unless that is killed.
    """
    folder, users = _joined(os.getpid())
    if not os.fstat(users).st_nlink:  # a cleaner of /tmp has removed it
        _joined.cache_clear()
        folder, _ = _joined(os.getpid())
    return folder


@lru_cache(maxsize=1)
def _joined(process: int) -> tuple[Path, int]:
    """The folder, and the lock by which this process is one of its users."""
    folder = user_folder("downloads")
    users = open_lock_file(folder / ".users")  # open until this process ends
    _empty_if_alone(folder, users, process)
    acquire(users, shared=True)
    atexit.register(_empty_if_alone, folder, users, process)
    return folder, users


def _empty_if_alone(folder: Path, users: int, process: int) -> None:
    if process != os.getpid() or not os.fstat(users).st_nlink:
        return  # in a forked process, which has the lock of its parent, or by a lock that others do not see
    if acquire(users, wait=False):
        _empty(folder)


def _empty(folder: Path) -> None:
    """Delete all downloads but those under way."""
    for path in [*folder.glob("[!.]*")]:
        with suppress(FileNotFoundError):  # its own process has renamed or removed it meanwhile
            if path.suffix != PART or _is_abandoned(str(path)):
                path.unlink()
