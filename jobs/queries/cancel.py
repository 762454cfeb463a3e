"""Interrupt DuckDB on Ctrl-C: Python's own handlers wait until its call returns."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def interruptible(interrupt: Callable[[], None]) -> Iterator[None]:
    """Call `interrupt` as soon as one of SIGNALS arrives, while the main thread may be in a call that hears neither.

    The handlers of these signals run when the call has returned.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    readable, writable = os.pipe()
    os.set_blocking(writable, False)
    before = signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
    watcher = threading.Thread(target=_watch, args=(readable, interrupt), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(writable)
        watcher.join()
        os.close(readable)


def _watch(readable: int, interrupt: Callable[[], None]) -> None:
    while number := os.read(readable, 1):
        if number[0] in SIGNALS:
            interrupt()
