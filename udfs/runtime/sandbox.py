"""A function and its arguments -> its result, computed in a child process that may hang, crash or eat memory alone."""

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
START_S = 120.0  # for the child to import what it needs, on a machine that is busy
START_ATTEMPTS, START_PAUSE_S = 4, 1.0  # a machine short of memory may kill a starting child, and have room a moment later
LOOK_S = 1.0  # between looks at the child's heartbeats
# A task has one core: the pools that numerical libraries start by default would be threads for nothing.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "OPENCV_FOR_THREADS_NUM": "1"}

_mine = threading.local()  # a thread has its own child: one pipe carries one call at a time


class StartError(RunError):
    """No decoding process can be started on this machine."""


class Bounds(TypedDict):
    """Time and memory that a call may take, as keyword arguments of `call`."""

    timeout_s: float
    total_s: float
    memory_mb: int


def bounds(limits: Limits) -> Bounds:
    """The bounds of a call for one input."""
    return Bounds(timeout_s=limits.timeout_s, total_s=limits.timeout_total_s, memory_mb=limits.memory_mb)


class _Child:
    """A fresh Python process that answers calls over a pipe.

    Started anew, not forked: this process has threads and may hold a GPU. And not by multiprocessing, whose children import
    the parent's `__main__`, which in a Spark worker is all of pyspark.
    """

    def __init__(self, memory_mb: int) -> None:
        self.pipe, theirs = Pipe()
        self.memory_mb, self.owner, self.calls = memory_mb, os.getpid(), 0
        page = heartbeat.new_page()
        self.beats = heartbeat.counter(page)
        path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
        numbers = [str(number) for number in (theirs.fileno(), page, memory_mb, self.owner)]
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "udfs.runtime.sandbox_child", *numbers],
                stdin=subprocess.DEVNULL,
                stdout=2,  # stdout may be a protocol's
                pass_fds=[theirs.fileno(), page],
                env=ONE_THREAD | os.environ | {"PYTHONPATH": path},
            )
        finally:
            theirs.close()
            os.close(page)
        try:
            self.answer(START_S)  # it says when it is ready
        except (EOFError, OSError, TimeoutError) as e:
            self.process.kill()
            raise ChildProcessError(f"exit {self.end()}") from e

    def serves(self, memory_mb: int) -> bool:
        """Whether it lives, is ours and not a fork's, and has the wanted limit."""
        alive = self.process.poll() is None
        return alive and self.calls < RECYCLE_AFTER and (self.memory_mb, self.owner) == (memory_mb, os.getpid())

    def answer(self, timeout_s: float, total_s: float = math.inf) -> tuple[Any, Exception | None]:
        """What it sends next: a result, or the exception that stood in its way.

        Raises:
            TimeoutError: no answer within `timeout_s` of the last heartbeat, or within `total_s`.
        """
        start = last = time.monotonic()
        count = self.beats[0]
        while not self.pipe.poll(max(0.0, min(LOOK_S, last + timeout_s - time.monotonic()))):
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
        """Its exit status, if need be by force."""
        self.pipe.close()
        if self.owner != os.getpid():
            return 0  # another process's child, seen through a fork
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.process.wait(0.5)  # a closed pipe ends it, unless it hangs; a dead one tells of what it died
        self.process.kill()
        return self.process.wait()


def call(function: Callable[..., Any], *args: Any, timeout_s: float, memory_mb: int, total_s: float = math.inf) -> Any:
    """Run a module-level function in this thread's child; the child is kept from call to call.

    It may take `total_s` in all, and `timeout_s` without a heartbeat (`beats.beat`).

    Raises:
        MediaError: TIMEOUT, CRASH or OOM if the child had to be given up.
        StartError: no child starts.
        Exception: what the function raises otherwise, with a note that holds the child's traceback.
    """
    message = pickle.dumps((function, args))
    child = _sent(message, memory_mb)
    try:
        result, error = child.answer(timeout_s, total_s)
    except TimeoutError as e:
        child.process.kill()
        child.end()
        raise MediaError("TIMEOUT", str(e)) from e
    except (EOFError, OSError) as e:
        raise _death(child.end()) from e
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        child.end()  # what it still holds would be missing for the next call
        raise MediaError("OOM", f"more than {memory_mb} MB") from error
    if error is not None:
        raise error
    return result


def stop() -> None:
    """End this thread's child, if it has one."""
    child: _Child | None = getattr(_mine, "child", None)
    if child is not None:
        child.end()
        _mine.child = None


atexit.register(stop)


def _sent(message: bytes, memory_mb: int) -> _Child:
    """The child that took the message; one that died idle is replaced, which is no fault of this call."""
    for _ in range(2):
        child: _Child | None = getattr(_mine, "child", None)
        if child is None or not child.serves(memory_mb):
            stop()
            child = _mine.child = _start(memory_mb)
        child.calls += 1
        with contextlib.suppress(ConnectionError):
            child.pipe.send_bytes(message)
            return child
        stop()
    raise StartError("the decoding process dies before it takes a call")


def _start(memory_mb: int) -> _Child:
    for attempt in range(1, START_ATTEMPTS + 1):
        try:
            return _Child(memory_mb)
        except OSError as e:  # no process can be created, or it was killed as it started
            if attempt == START_ATTEMPTS:
                raise StartError(f"the decoding process does not start, at the last of {attempt} attempts: {e}") from e
            time.sleep(START_PAUSE_S * 2 ** (attempt - 1))
    raise AssertionError("the last attempt returns or raises")


def _death(status: int) -> MediaError:
    name = signal.Signals(-status).name if status < 0 else f"exit {status}"
    code: Code = "OOM" if status == -signal.SIGKILL else "CRASH"  # SIGKILL unasked for is the kernel's memory killer
    return MediaError(code, f"the decoding process died: {name}")
