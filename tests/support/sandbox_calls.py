"""What a decoder may do to its process, for calls in the sandbox."""

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
    """Does not survive pickling: its argument is no text."""

    def __init__(self) -> None:
        super().__init__(lambda: None)


def die(number: int) -> None:
    """End by a signal."""
    os.kill(os.getpid(), number)


def hold_the_gil() -> None:
    """Never come back, and let no other thread of the process run."""
    re.match(r"(a+)+$", "a" * 64 + "b")


def allocate(megabytes: int) -> int:
    """Take and touch so much memory."""
    return len(b"x" * (megabytes << 20))


def stumble() -> None:
    """A bug."""
    raise KeyError("no such column")


def raise_unportable() -> None:
    """A bug whose exception cannot be sent."""
    raise Unportable


def refuse() -> None:
    """A bad input."""
    raise MediaError("CORRUPT", "as ordered")


def say(word: str) -> int:
    """Print from Python and from below it."""
    print(word, flush=True)
    return os.write(1, word.encode())


def tell_and_sleep(path: str) -> None:
    """Write down the process id, and stay."""
    Path(path).write_text(str(os.getpid()))
    time.sleep(60)


def modules() -> list[str]:
    """What has been imported here."""
    return sorted(sys.modules)


def double(row: Row) -> list[Row]:
    """Work of a stage: a row for a good input, and what a decoder may do for others."""
    if row["n"] == "crash":
        die(signal.SIGSEGV)
    if row["n"] == "hang":
        hold_the_gil()
    if row["n"] == "memory":
        allocate(2048)
    if row["n"] == "bug":
        stumble()
    if row["n"] == "disk":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/out/media/a.mp4")
    return [{"doubled": int(row["n"]) * 2}]


def has_pyspark(batch: pd.DataFrame) -> list[bool]:
    """Whether the sandbox of this process imported pyspark, for each row."""
    from udfs.runtime import sandbox

    return ["pyspark" in sandbox.call(modules, timeout_s=60, memory_mb=1024) for _ in range(len(batch))]


def beat_for(seconds: float) -> str:
    """Take long, with a heartbeat now and then."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        beat()
        time.sleep(0.1)
    return "done"
