"""Call a function in a child process, so that a hang, a crash or a leak ends that process only."""

from __future__ import annotations

import atexit
import contextlib
import errno
import math
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Pipe
from typing import Any, TypedDict

from udfs.core import heartbeat
from udfs.core.errors import Code, MediaError, RunError
from udfs.core.limits import Limits

RECYCLE_AFTER = 500  # calls, so that a leak in a decoder stays small
START_S = 120.0  # for the child's imports, on a busy machine
# A machine short of memory may kill a starting child, and have memory a moment later.
START_ATTEMPTS, START_PAUSE_S = 4, 1.0
HEARTBEAT_CHECK_S = 1.0  # between looks at the child's heartbeats
# A task has one core: the thread pools that numerical libraries start by default would not help.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "OPENCV_FOR_THREADS_NUM": "1"}

_thread = threading.local()  # each thread has a child of its own: a pipe carries one call at a time


class StartError(RunError):
    """No decoding process can be started on this machine."""


class Bounds(TypedDict):
    """The time and memory that a call may take, as keyword arguments of `call`."""

    timeout_s: float
    total_s: float
    memory_mb: int


def bounds(limits: Limits) -> Bounds:
    """The bounds of a call for one input."""
    return Bounds(timeout_s=limits.timeout_s, total_s=limits.timeout_total_s, memory_mb=limits.memory_mb)


class _Child:
    """A fresh Python process that answers calls over a pipe.

    It is started, not forked: this process has threads and may use a GPU. It is not started by
    multiprocessing, whose children import the parent's `__main__`: in a Spark worker all of
    pyspark.
    """

    def __init__(self, memory_mb: int) -> None:
        self.pipe, child_pipe = Pipe()
        self.memory_mb, self.owner, self.calls = memory_mb, os.getpid(), 0
        page = heartbeat.new_page()
        self.beats = heartbeat.counter(page)
        self.path = _import_path()
        numbers = [str(number) for number in (child_pipe.fileno(), page, memory_mb, self.owner)]
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "udfs.runtime.sandbox_child", *numbers],
                stdin=subprocess.DEVNULL,
                stdout=2,  # stdout may be a protocol's
                pass_fds=[child_pipe.fileno(), page],
                env=ONE_THREAD | os.environ | {"PYTHONPATH": self.path},
            )
        finally:
            child_pipe.close()
            os.close(page)
        try:
            self.answer(START_S)  # the child's first answer says that it is ready
        except (EOFError, OSError, TimeoutError) as e:
            self.process.kill()
            raise ChildProcessError(f"exit {self.end()}") from e

    def can_serve(self, memory_mb: int) -> bool:
        """Whether the child is alive, is this process's own and not its fork's, and has this limit and import path."""
        alive = self.process.poll() is None and self.calls < RECYCLE_AFTER
        return alive and (self.memory_mb, self.owner, self.path) == (memory_mb, os.getpid(), _import_path())

    def answer(self, timeout_s: float, total_s: float = math.inf) -> tuple[Any, Exception | None]:
        """What the child sends next: a result, or the exception of its call.

        Raises:
            TimeoutError: no answer within `timeout_s` of the last heartbeat, or within `total_s`.
        """
        start = last = time.monotonic()
        count = self.beats[0]
        while not self.pipe.poll(max(0.0, min(HEARTBEAT_CHECK_S, last + timeout_s - time.monotonic()))):
            now = time.monotonic()
            if self.beats[0] != count:
                count, last = self.beats[0], now
            if now - last >= timeout_s:
                raise TimeoutError(f"no progress for {timeout_s:.0f} s")
            if now - start >= total_s:
                raise TimeoutError(f"not done after {total_s:.0f} s")
        answer: tuple[Any, Exception | None] = self.pipe.recv()
        return answer

    def end(self) -> int:
        """Close the pipe and return the child's exit status; a child that hangs is killed."""
        self.pipe.close()
        if self.owner != os.getpid():
            return 0  # another process's child, seen through a fork
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.process.wait(0.5)  # a closed pipe ends the child, unless it hangs
        self.process.kill()
        return self.process.wait()


def _import_path() -> str:
    return os.pathsep.join(entry or os.getcwd() for entry in sys.path)


def call(function: Callable[..., Any], *args: Any, timeout_s: float, memory_mb: int, total_s: float = math.inf) -> Any:
    """Run a module-level function in this thread's child; the child is kept from call to call.

    It may take `total_s` in all, and `timeout_s` without a heartbeat (`heartbeat.beat`).

    Raises:
        MediaError: TIMEOUT, CRASH or OOM if the child was killed or died.
        StartError: no child process can be started.
        Exception: what the function raises otherwise, with a note that holds the child's traceback.
    """
    message = pickle.dumps((function, args))
    child = _send(message, memory_mb)
    try:
        result, error = child.answer(timeout_s, total_s)
    except TimeoutError as e:
        child.process.kill()
        child.end()
        raise MediaError("TIMEOUT", str(e)) from e
    except (EOFError, OSError) as e:
        raise _error_of_dead_child(child.end()) from e
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        child.end()  # its remaining memory would be missing for the next call
        raise MediaError("OOM", f"more than {memory_mb} MB") from error
    if error is not None:
        raise error
    return result


def stop() -> None:
    """End this thread's child, if it has one."""
    child: _Child | None = getattr(_thread, "child", None)
    if child is not None:
        child.end()
        _thread.child = None


atexit.register(stop)


def _send(message: bytes, memory_mb: int) -> _Child:
    """Send a call; returns the child that took it. A child that died while idle is replaced."""
    for _ in range(2):
        child: _Child | None = getattr(_thread, "child", None)
        if child is None or not child.can_serve(memory_mb):
            stop()
            child = _thread.child = _start(memory_mb)
        child.calls += 1
        with contextlib.suppress(ConnectionError):
            child.pipe.send_bytes(message)
            return child
        stop()
    raise StartError("the decoding process dies before it receives a call")


def _start(memory_mb: int) -> _Child:
    for attempt in range(1, START_ATTEMPTS + 1):
        try:
            return _Child(memory_mb)
        except OSError as e:  # no process can be created, or it was killed while it started
            if attempt == START_ATTEMPTS:
                raise StartError(f"the decoding process does not start, at the last of {attempt} attempts: {e}") from e
            time.sleep(START_PAUSE_S * 2 ** (attempt - 1))
    raise AssertionError("the last attempt returns or raises")


def _error_of_dead_child(status: int) -> MediaError:
    name = signal.Signals(-status).name if status < 0 else f"exit {status}"
    # A SIGKILL that is not ours is from the kernel's OOM killer.
    code: Code = "OOM" if status == -signal.SIGKILL else "CRASH"
    return MediaError(code, f"the decoding process died: {name}")
