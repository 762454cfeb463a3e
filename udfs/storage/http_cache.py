"""An answer without ranges -> a file on this host's disk: whole, shared by its processes, and gone with the last of them."""

from __future__ import annotations

import atexit
import hashlib
import os
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from udfs.core.errors import MediaError
from udfs.core.host_files import acquire, lock, open_lock_file, user_folder
from udfs.storage.remote_file import Stat
from udfs.storage.retry import BusyError
from udfs.storage.settings import Params

STEP = 1 << 26  # bytes that are reserved together where a server does not state a size
PART = ".part"  # a file under way, locked by the process that writes it


def stat(uri: str, tag: str) -> Stat | None:
    """Size and version of a file that is here, by what its server says changes with it."""
    with suppress(FileNotFoundError):
        size = _place(uri, tag).stat().st_size
        return Stat(size, f"{size}-{tag}")
    return None


def read(uri: str, version: str, start: int, end: int) -> bytes | None:
    """The bytes [start, end) of a version that is here, else None."""
    size, _, tag = version.partition("-")
    with suppress(FileNotFoundError), _place(uri, tag).open("rb") as f:
        os.utime(f.fileno())  # the files used last are the last to go
        if os.fstat(f.fileno()).st_size == int(size):
            f.seek(start)
            return f.read(end - start)
    return None


def keep(uri: str, tag: str, pieces: Iterable[bytes], size: int | None, params: Params) -> int:
    """Write pieces to disk, as many bytes as stated where that is known; their number.

    Raises:
        MediaError: TOO_LARGE over sources.max_bytes or http_disk_bytes; nothing is left of such a file.
        BusyError: bytes are missing, or other processes' downloads leave no room.
    """
    handle, aside = tempfile.mkstemp(dir=_folder(os.getpid()), suffix=PART)
    try:
        with open(handle, "wb") as f:
            acquire(f.fileno())
            written = _written(f.fileno(), pieces, size, params)
            if size is not None and written < size:
                raise BusyError(f"{written} of {size} bytes came")
            f.truncate(written)
            os.replace(aside, _place(uri, tag))
    finally:
        with suppress(FileNotFoundError):
            os.unlink(aside)
    return written


def _written(handle: int, pieces: Iterable[bytes], size: int | None, params: Params) -> int:
    written, reserved = 0, _reserve(handle, size, size, params) if size else 0
    for piece in pieces:
        if written + len(piece) > reserved:
            reserved = _reserve(handle, written + len(piece), written + len(piece) + STEP, params)
        written += os.pwrite(handle, piece, written)
    return written


def _reserve(handle: int, needed: int, wanted: int, params: Params) -> int:
    """Let a file grow to what is wanted, or the limit, at the cost of the files used longest ago; its size then."""
    limit = min(params.max_bytes, params.http_disk_bytes)
    if needed > limit:
        name = "max_bytes" if limit == params.max_bytes else "http_disk_bytes"
        raise MediaError("TOO_LARGE", f"{needed} bytes or more, over sources.{name}")
    wanted = min(wanted, limit)
    folder = _folder(os.getpid())
    with lock(folder / ".room"):
        _make_room(folder, wanted - os.fstat(handle).st_size, params.http_disk_bytes)
        os.truncate(handle, wanted)  # others see it as taken
    return wanted


def _make_room(folder: Path, more: int, limit: int) -> None:
    files = [(file.path, file.stat()) for file in os.scandir(folder) if not file.name.startswith(".")]
    excess = sum(info.st_size for _, info in files) + more - limit
    for path, info in sorted(files, key=lambda file: file[1].st_mtime_ns):
        if excess <= 0:
            return
        with suppress(FileNotFoundError):  # its process took it away meanwhile
            if not path.endswith(PART) or _left_behind(path):
                os.unlink(path)  # who has it open reads on
                excess -= info.st_size
    if excess > 0:
        raise BusyError("other downloads leave no room in sources.http_disk_bytes")


def _left_behind(path: str) -> bool:
    """Whether nobody writes a file any more: its process was killed."""
    with open(path, "rb") as f:
        return acquire(f.fileno(), wait=False)


def _place(uri: str, tag: str) -> Path:
    parts = (hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:32] for text in (uri, tag))
    return _folder(os.getpid()) / "-".join(parts)


@lru_cache(maxsize=1)
def _folder(process: int) -> Path:
    """The folder of this user's downloads, which is emptied when the first process comes and when the last one goes."""
    folder = user_folder("downloads")
    users = open_lock_file(folder / ".users")  # open until this process ends
    _empty_if_last(folder, users, process)
    acquire(users, shared=True)
    atexit.register(_empty_if_last, folder, users, process)
    return folder


def _empty_if_last(folder: Path, users: int, process: int) -> None:
    if process != os.getpid():
        return  # a fork, which shares the lock
    if acquire(users, wait=False):
        for path in folder.iterdir():
            if not path.name.startswith("."):
                path.unlink(missing_ok=True)
