"""Ctrl-C and SIGTERM -> one line, and the exit status that a shell gives them: 130 and 143."""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType

SHOW_CURSOR = "\x1b[?25h"  # which a live line has hidden


def end_on_signals() -> None:
    """Let this process end at once when it is asked to; what it has not committed, the next run does.

    Nothing is tidied up: the process may be waiting for Spark, whose JVM ends with it, and with the JVM its Python workers and
    theirs. A killed process leaves no more behind, and each run begins by removing that.
    """
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _end)


def _end(number: int, _: FrameType | None) -> None:
    shown = SHOW_CURSOR if sys.stderr.isatty() else ""
    line = f"{shown}reelmill: stopped by {signal.Signals(number).name}; the same command goes on from what is in the tables\n"
    os.write(2, line.encode())
    os._exit(128 + number)
