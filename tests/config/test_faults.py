"""Errors and signals end a command with one line and an exit status; a bug keeps its traceback."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys

import pytest

from jobs.config import faults
from udfs.core.errors import OutputError

WORKER = """An exception was thrown from the Python worker. Please see the stack trace below.
Traceback (most recent call last):
  File "/app/udfs/store.py", line 152, in _output
    raise OutputError(f"{root} cannot be written to: {e.strerror or e}") from e
udfs.core.errors.OutputError: /out/media cannot be written to: No space left on device
in the decoding process:
Traceback (most recent call last):
"""
JAVA = (
    "Job aborted.\n\tat org.x.Y\n"
    "Caused by: org.apache.hadoop.fs.FSError: java.io.IOException: No space left on device\n\tat z"
)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError(WORKER), "/out/media cannot be written to: No space left on device"),
        (RuntimeError(JAVA), "No space left on device (the output, or Spark's temporary directory)"),
        (OutputError("/out cannot\nbe written to"), "/out cannot be written to"),
        (OSError(errno.EROFS, "Read-only file system", "/out/.lock"), "[Errno 30] Read-only file system: '/out/.lock'"),
        (RuntimeError("KeyError: 'no such column'"), None),
        (RuntimeError("udfs.core.errors.MediaError: CORRUPT: no frame"), None),
    ],
)
def test_what_stops_a_run_is_one_line(error: Exception, said: str | None) -> None:
    found = faults.cause(error)
    assert found is None if said is None else (found or "").startswith(said)
    assert "\n" not in (found or "")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_is_one_line_and_the_status_of_a_shell(number: int, status: int) -> None:
    code = (
        "import time; from jobs.config import interrupts; interrupts.end_on_signals(); "
        "print('on', flush=True); time.sleep(60)"
    )
    run = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert run.stdout is not None
    assert run.stdout.readline() == "on\n"
    os.kill(run.pid, number)
    _, said = run.communicate(timeout=30)
    assert run.returncode == status
    assert said == "reelmill: stopped; the same command goes on from here\n"
