"""End the process on Ctrl-C, SIGTERM and SIGHUP with one line and the usual exit status: 130, 143 or 129."""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import suppress
from functools import partial
from types import FrameType

SHOW_CURSOR = "\x1b[?25h"  # the progress line hides it


def end_on_signals() -> None:
    """Make these signals end this process at once; the next run does what was not committed.

    SIGHUP comes when a terminal is closed; under `nohup` it stays ignored.

    Nothing is cleaned up: the process may be waiting for Spark, whose JVM ends with it, as do the
    JVM's Python workers and their children. Each run begins by removing what a killed one has left.
    """
    if threading.current_thread() is threading.main_thread():
        told = os.dup(2)  # what it is now: while Spark starts, standard error is a file
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, partial(_end, told))


def end(status: int) -> None:
    """End this process at once, with all that was printed; what libraries would do at its exit is left out."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):  # a full disk, or a reader that has gone
            stream.flush()
    os._exit(status)


def _end(told: int, number: int, _: FrameType | None) -> None:
    prefix = SHOW_CURSOR if sys.stderr.isatty() else ""
    line = f"{prefix}reelmill: stopped; the same command goes on from here\n"
    with suppress(OSError):  # the terminal may be gone
        os.write(told, line.encode())
    os._exit(128 + number)
