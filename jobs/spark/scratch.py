"""The folder of Spark's temporary files on one machine: one per process; those of killed processes are deleted."""

from __future__ import annotations

import os
import shutil
import tempfile
from functools import lru_cache
from pathlib import Path

from udfs.core.host_files import acquire, lock, open_lock_file, user_folder

LOCK = ".lock"  # in a folder; its process holds it until it ends


def folder() -> str:
    """A folder of this process in the temporary directory, which TMPDIR names; Java alone would take /tmp.

    What Spark spills lies there. Spark deletes it at its end, but not where it is killed.
    """
    return _folder(os.getpid())


@lru_cache(maxsize=1)
def _folder(process: int) -> str:
    above = user_folder("spark")
    with lock(above / LOCK):  # so that no other process deletes the new folder before it is locked
        _remove_abandoned(above)
        own = tempfile.mkdtemp(prefix=f"{process}-", dir=above)
        acquire(open_lock_file(os.path.join(own, LOCK)))  # open until this process ends
    return own


def _remove_abandoned(above: Path) -> None:
    """Delete the folders whose process has ended."""
    for each in above.iterdir():
        if each.is_dir():
            handle = open_lock_file(each / LOCK)
            try:
                if acquire(handle, wait=False):
                    shutil.rmtree(each, ignore_errors=True)
            finally:
                os.close(handle)
