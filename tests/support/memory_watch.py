"""The most memory that any decoding process of this machine holds while a block runs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class MemoryWatch(threading.Thread):
    """The most memory that any decoding process has held, in MB, looked at now and then."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.most_mb, self.ended = 0.0, threading.Event()

    def run(self) -> None:
        while not self.ended.wait(0.2):
            for folder in Path("/proc").glob("[0-9]*"):
                try:
                    if b"udfs.runtime.sandbox_child" in (folder / "cmdline").read_bytes():
                        status = (folder / "status").read_text()
                        peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
                        self.most_mb = max(self.most_mb, int(peak.split()[1]) / 1024)
                except (OSError, StopIteration):
                    continue


@contextmanager
def watched() -> Iterator[MemoryWatch]:
    """Watch until the block ends."""
    watch = MemoryWatch()
    watch.start()
    try:
        yield watch
    finally:
        watch.ended.set()
