"""A GPU and how many may share it -> a place there for one process's model, given up when idle and wanted by another.

Spark keeps idle Python workers and deals tasks to any of them, so that each would in time hold a model of its own.
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
# Bytes of a file that stand for a whole GPU, of which a place locks its part, so that places of different sizes know of each
# other; a multiple of every number of tasks up to 10.
WHOLE = 5040


class Slot:
    """A place on a GPU, held as a lock on a part of a file: the lock goes with the process, however it ends."""

    def __init__(self, gpu: str, share: int, give_up: Callable[[], None]) -> None:
        """Wait for one of the `share` places of a GPU; `give_up` frees the model, called while `busy` is held."""
        self.gpu, self.share, self._give_up = gpu, share, give_up
        self.busy = threading.Lock()  # held by the task that uses the model
        place = self._free_place()
        self._place: int | None = self._awaited_place() if place is None else place
        threading.Thread(target=self._watch, daemon=True, name=f"slot of GPU {gpu}").start()

    @property
    def held(self) -> bool:
        """Whether the place is still ours; ask with `busy` held."""
        return self._place is not None

    def release(self) -> None:
        """Give the place up; with `busy` held."""
        place, self._place = self._place, None
        self._give_up()
        if place is not None:
            os.close(place)  # which unlocks it

    def _free_place(self) -> int | None:
        place, part = open_lock_file(_path(self.gpu, "held")), WHOLE // self.share
        if any(_claimed(place, number * part, part) for number in range(self.share)):
            return place
        os.close(place)
        return None

    def _awaited_place(self) -> int:
        with lock(_path(self.gpu, "wanted")):  # one waits in front of the others; idle holders see that somebody does
            while (place := self._free_place()) is None:
                time.sleep(POLL_S)
            return place

    def _watch(self) -> None:
        while self._place is not None:
            time.sleep(POLL_S)
            if _is_wanted(self.gpu) and self.busy.acquire(blocking=False):
                try:
                    self.release()
                finally:
                    self.busy.release()


def _is_wanted(gpu: str) -> bool:
    wanted = open_lock_file(_path(gpu, "wanted"))
    try:
        return not acquire(wanted, shared=True, wait=False)  # shared, so that holders do not take each other for one who waits
    finally:
        os.close(wanted)


def _path(gpu: str, suffix: str) -> Path:
    return user_folder("slots") / f"gpu-{gpu}.{suffix}"


def _claimed(handle: int, start: int, length: int) -> bool:
    """Lock bytes of a file for this opening of it: POSIX's own locks would go with any other that the process closes."""
    record = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, start, length, 0)  # struct flock of 64-bit Linux
    try:
        fcntl.fcntl(handle, fcntl.F_OFD_SETLK, record)
    except BlockingIOError:
        return False
    return True
