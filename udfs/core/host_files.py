"""Locks and folders that the processes of one user on one host share."""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from udfs.core.errors import RunError

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class HostFolderError(RunError):
    """A shared folder belongs to another user or is open to others. Its text is one line."""


def user_folder(purpose: str) -> Path:
    """The folder of this user for one purpose, the same for all processes of the host; made where it is missing.

    It lies in the temporary directory and not in $XDG_RUNTIME_DIR, which is emptied at logout while
    a detached run goes on, is missing in batch jobs, and is kept in memory.

    Raises:
        HostFolderError: anyone else could change what lies in it.
    """
    folder = Path(tempfile.gettempdir(), f"reelmill-{purpose}-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    info = folder.lstat()
    if not stat.S_ISDIR(info.st_mode):  # a link could lead anywhere
        raise HostFolderError(f"{folder} is not a folder: remove it, or set TMPDIR")
    if info.st_uid != os.getuid():
        raise HostFolderError(f"{folder} belongs to another user (uid {info.st_uid}): remove it, or set TMPDIR")
    if info.st_mode & 0o077:
        raise HostFolderError(f"{folder} is open to other users (mode {stat.S_IMODE(info.st_mode):04o}): chmod 700 it")
    return folder


@cache
def boot_id() -> str:
    """What identifies the present boot, from which time.monotonic() counts; empty where the kernel does not say."""
    with suppress(OSError):
        return BOOT_ID.read_text(encoding="ascii").strip()
    return ""


def open_lock_file(path: str | Path) -> int:
    """A descriptor of a file to be locked, which is made where it is missing; closing the descriptor unlocks it.

    Raises:
        OSError: among others where it is a link, which could lead to any file.
    """
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)


def acquire(handle: int, *, shared: bool = False, wait: bool = True) -> bool:
    """Lock an open file; False if another process holds it and this one is not to wait."""
    how = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB)
    try:
        fcntl.flock(handle, how)
    except BlockingIOError:
        return False
    return True


@contextmanager
def lock(path: str | Path) -> Iterator[int]:
    """Wait for the lock of a file and hold it; yields the file's descriptor.

    A process that dies loses its locks.
    """
    handle = open_lock_file(path)
    try:
        acquire(handle)
        yield handle
    finally:
        os.close(handle)
