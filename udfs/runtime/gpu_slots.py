"""Slots on a GPU: how many processes may keep a model there; idle ones give theirs up.

Spark keeps idle Python workers and gives tasks to any of them, so that in time each would keep a
model of its own.
"""

from __future__ import annotations

import fcntl
import os
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path

from udfs.core.host_files import acquire, lock, open_lock_file, user_folder

POLL_S = 0.1
# Bytes of a lock file that represent a whole GPU. A slot locks its share of them, so that slots of
# different sizes exclude each other. It is a multiple of every number of tasks up to 10.
GPU_BYTES = 5040


class Slot:
    """A share of a GPU, as a lock on a part of a file.

    The kernel releases the lock when the process ends, however it ends.
    """

    def __init__(self, gpu: str, share: int, drop_model: Callable[[], None]) -> None:
        """Wait for one of the `share` slots of a GPU.

        `drop_model` frees the model, and is called while `busy` is locked.
        """
        self.gpu, self.share, self._drop_model = gpu, share, drop_model
        self.busy = threading.Lock()  # locked by the task that uses the model
        handle = self._lock_free_part()
        self._handle: int | None = self._wait_for_part() if handle is None else handle
        threading.Thread(target=self._watch, daemon=True, name=f"slot of GPU {gpu}").start()

    @property
    def is_held(self) -> bool:
        """Whether this process still has the slot; call it with `busy` locked."""
        return self._handle is not None

    def release(self) -> None:
        """Give the slot up; call it with `busy` locked."""
        handle, self._handle = self._handle, None
        self._drop_model()
        if handle is not None:
            os.close(handle)  # unlocks the part

    def _lock_free_part(self) -> int | None:
        handle, size = open_lock_file(_path(self.gpu, "held")), GPU_BYTES // self.share
        if any(_lock_bytes(handle, number * size, size) for number in range(self.share)):
            return handle
        os.close(handle)
        return None

    def _wait_for_part(self) -> int:
        with lock(_path(self.gpu, "wanted")):  # the first of those that wait; idle processes see this lock
            while (handle := self._lock_free_part()) is None:
                time.sleep(POLL_S)
            return handle

    def _watch(self) -> None:
        while self._handle is not None:
            time.sleep(POLL_S)
            if _is_wanted(self.gpu) and self.busy.acquire(blocking=False):
                try:
                    self.release()
                finally:
                    self.busy.release()


def _is_wanted(gpu: str) -> bool:
    queue = open_lock_file(_path(gpu, "wanted"))
    try:
        return not acquire(queue, shared=True, wait=False)  # shared: else two processes that look would see each other
    finally:
        os.close(queue)


def _path(gpu: str, suffix: str) -> Path:
    return user_folder("slots") / f"gpu-{gpu}.{suffix}"


def _lock_bytes(handle: int, start: int, length: int) -> bool:
    """Lock bytes for this opening of the file; a POSIX lock would end when the process closes any other opening."""
    record = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, start, length, 0)  # struct flock of 64-bit Linux
    try:
        fcntl.fcntl(handle, fcntl.F_OFD_SETLK, record)
    except BlockingIOError:
        return False
    return True
