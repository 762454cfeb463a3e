"""Functions that do to a sandbox process what a decoder may do: crash, hang, allocate, fail."""

from __future__ import annotations

import errno
import os
import re
import signal
import sys
import time
from pathlib import Path

import pandas as pd

from udfs.core.errors import MediaError
from udfs.core.heartbeat import beat
from udfs.runtime.context import Row


class Unportable(Exception):
    """An exception that cannot be pickled, because its argument is a function."""

    def __init__(self) -> None:
        super().__init__(lambda: None)


class Unreadable(Exception):
    """An exception that can be pickled, but not made again from what was pickled."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def die(number: int) -> None:
    """Kill this process by a signal."""
    os.kill(os.getpid(), number)


def hold_the_gil() -> None:
    """Never return, and let no other thread of the process run."""
    re.match(r"(a+)+$", "a" * 64 + "b")


def take_real_time() -> None:
    """Run before all else on the machine, as SVT-AV1 does where it may."""
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(99))


def allocate(megabytes: int) -> int:
    """Allocate and touch memory."""
    return len(b"x" * (megabytes << 20))


def raise_bug() -> None:
    """Raise what a bug raises."""
    raise KeyError("no such column")


def leave() -> None:
    """End the process as programs do."""
    sys.exit("no license")


def raise_unportable() -> None:
    """Raise an exception that cannot be sent to the parent."""
    raise Unportable


def raise_unreadable() -> None:
    """Raise an exception that the parent cannot read."""
    raise Unreadable("E17", "no such codec")


def raise_media_error() -> None:
    """Raise what a bad input raises."""
    raise MediaError("CORRUPT", "as ordered")


def print_twice(word: str) -> int:
    """Print by Python and by the file descriptor below it."""
    print(word, flush=True)
    return os.write(1, word.encode())


def write_pid_and_sleep(path: str, seconds: float = 60) -> None:
    """Write the process id to a file, and sleep."""
    Path(path).write_text(str(os.getpid()))
    time.sleep(seconds)


def imported_modules() -> list[str]:
    """The modules that this process has imported."""
    return sorted(sys.modules)


def double(row: Row) -> list[Row]:
    """The work of a stage: a row for a good input, a crash or an error for others."""
    if row["n"] == "crash":
        die(signal.SIGSEGV)
    if row["n"] == "hang":
        hold_the_gil()
    if row["n"] == "memory":
        allocate(2048)
    if row["n"] == "bug":
        raise_bug()
    if row["n"] == "disk":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/out/media/a.mp4")
    return [{"doubled": int(row["n"]) * 2}]


def has_pyspark(batch: pd.DataFrame) -> list[bool]:
    """Whether the sandbox of this process imported pyspark, for each row."""
    from udfs.runtime import sandbox

    return ["pyspark" in sandbox.call(imported_modules, timeout_s=60, memory_mb=1024) for _ in range(len(batch))]


def beat_for(seconds: float) -> str:
    """Work for `seconds`, with a heartbeat ten times per second."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        beat()
        time.sleep(0.1)
    return "done"
