"""Errors and signals end a command with one line and an exit status; a bug keeps its traceback."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from py4j.java_gateway import GatewayParameters, JavaGateway
from py4j.protocol import Py4JNetworkError

from jobs.config import faults
from jobs.config.faults import GOES_ON, LOST_JVM, NEEDED
from udfs.core.errors import MediaError, OutputError

# The start of a program that ends on signals; one that runs in the background may have begun with SIGHUP ignored.
IN_A_TERMINAL = (
    "import os, signal, time; signal.signal(signal.SIGHUP, signal.SIG_DFL); "
    "from jobs.config import interrupts; interrupts.end_on_signals(); "
)
WORKER = """An exception was thrown from the Python worker. Please see the stack trace below.
Traceback (most recent call last):
  File "/app/udfs/store.py", line 152, in _output
    raise OutputError(f"{root} cannot be written to: {e.strerror or e}") from e
udfs.core.errors.OutputError: /out/media cannot be written to: No space left on device
in the decoding process:
Traceback (most recent call last):
"""
UNANSWERED = "udfs.core.errors.MediaError: UNREACHABLE: 503 SlowDown"


class Py4JJavaError(Exception):
    """An error of Java's, by the name that py4j gives it."""


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
        (MediaError("DENIED", "the store\nsays no"), f"{NEEDED}DENIED: the store says no"),
        (RuntimeError(f"{UNANSWERED}\n\tat org.x.Y"), f"{NEEDED}UNREACHABLE: 503 SlowDown"),
        (
            RuntimeError(f"{UNANSWERED}\n\nDuring handling of the above exception, another occurred:\nKeyError: 0"),
            None,
        ),
    ],
)
def test_what_stops_a_run_is_one_line(error: Exception, said: str | None) -> None:
    found = faults.cause(error)
    assert found is None if said is None else (found or "").startswith(said)
    assert "\n" not in (found or "")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (RuntimeError(JAVA), f"No space left on device (the output, or Spark's temporary directory){GOES_ON}"),
        (OSError(errno.EIO, "Input/output error"), "[Errno 5] Input/output error (the output, or Spark's"),
        (OSError(errno.ESTALE, "Stale file handle"), "[Errno 116] Stale file handle (the output, or Spark's"),
        (
            Py4JJavaError("java.lang.IllegalStateException: odd\n\tat a.b"),
            f"Spark failed: odd (--verbose shows where){GOES_ON}",
        ),
        (RuntimeError("a bug"), ""),
    ],
)
def test_what_ends_a_run_says_that_the_same_command_goes_on(error: Exception, line: str, tmp_path: Path) -> None:
    found = faults.of_run(error, str(tmp_path), verbose=False) or ""
    assert found.startswith(line)
    assert found.endswith(GOES_ON) == bool(line)
    assert "\n" not in found


def test_a_jvm_that_was_killed_is_one_line(tmp_path: Path) -> None:
    gateway = JavaGateway(gateway_parameters=GatewayParameters(port=1))  # at which nothing listens
    with pytest.raises((Py4JNetworkError, ConnectionError)) as refused:
        gateway.jvm.System.nanoTime()
    later = KeyError("while cleaning up")
    later.__context__ = refused.value
    assert faults.of_run(later, str(tmp_path), verbose=False) == LOST_JVM
    with pytest.raises(ConnectionRefusedError) as other:
        socket.create_connection(("127.0.0.1", 1))
    assert faults.of_run(other.value, str(tmp_path), verbose=False) is None


def test_a_trace_of_java_is_shown_where_it_is_asked_for(tmp_path: Path) -> None:
    assert faults.of_run(Py4JJavaError("odd"), str(tmp_path), verbose=True) is None


def test_an_output_that_went_away_is_named(tmp_path: Path) -> None:
    found = faults.of_run(RuntimeError("DELTA_PATH_DOES_NOT_EXIST"), str(tmp_path / "out"), verbose=False)
    assert found == f"--output {tmp_path}/out is not there any longer{GOES_ON}"
    gone = RuntimeError(f"[PATH_NOT_FOUND] Path does not exist: {tmp_path}/out/tables/videos. SQLSTATE: 42K03")
    (tmp_path / "out").mkdir()  # again, by a worker that writes media
    assert faults.of_run(gone, str(tmp_path / "out"), verbose=False) == found
    other = RuntimeError("[PATH_NOT_FOUND] Path does not exist: /videos/list.csv. SQLSTATE: 42K03")
    assert faults.of_run(other, str(tmp_path / "out"), verbose=False) is None
    assert faults.of_run(RuntimeError("KeyError"), "s3://bucket/out", verbose=False) is None


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_is_one_line_and_the_status_of_a_shell(number: int, status: int) -> None:
    code = f"{IN_A_TERMINAL} print('on', flush=True); time.sleep(60)"
    run = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert run.stdout is not None
    assert run.stdout.readline() == "on\n"
    os.kill(run.pid, number)
    _, said = run.communicate(timeout=30)
    assert run.returncode == status
    assert said == "reelmill: stopped; the same command goes on from here\n"


def test_under_nohup_a_closed_terminal_ends_nothing() -> None:
    code = (
        "import os, signal; from jobs.config import interrupts; interrupts.end_on_signals(); "
        "os.kill(os.getpid(), signal.SIGHUP); print('on')"
    )
    run = subprocess.run(["nohup", sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (0, "on\n")


def test_a_terminal_that_is_gone_is_no_trouble() -> None:
    leader, follower = os.openpty()
    code = f"{IN_A_TERMINAL} os.write(1, b'on'); time.sleep(60)"
    run = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=follower)
    assert run.stdout is not None
    assert run.stdout.read(2) == b"on"
    os.close(follower)
    os.close(leader)
    os.kill(run.pid, signal.SIGHUP)
    assert run.wait(timeout=30) == 129
    run.stdout.close()


def test_what_java_says_is_its_message_without_classes() -> None:
    error = Py4JJavaError(
        "An error occurred while calling None.org.apache.spark.api.java.JavaSparkContext.\n"
        ": java.io.FileNotFoundException: File file:/tmp/spark-events does not exist\n\tat org.x.Y"
    )
    assert faults.first_line(error) == "File file:/tmp/spark-events does not exist"
