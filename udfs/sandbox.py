"""A function and its arguments -> its result, computed in a child process that may hang, crash or eat memory alone."""

from __future__ import annotations

import atexit
import contextlib
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Pipe
from typing import Any

from udfs.errors import Code, MediaError

RECYCLE_AFTER = 500  # calls, so that a leak in a decoder stays small
START_S = 120.0  # for the child to import what it needs, on a machine that is busy
# A task has one core: the pools that numerical libraries start by default would be threads for nothing.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "OPENCV_FOR_THREADS_NUM": "1"}

_mine = threading.local()  # a thread has its own child: one pipe carries one call at a time


class _Child:
    """A fresh Python process that answers calls over a pipe.

    Started anew, not forked: this process has threads and may hold a GPU. And not by multiprocessing, whose children import
    the parent's `__main__`, which in a Spark worker is all of pyspark.
    """

    def __init__(self, memory_mb: int) -> None:
        self.pipe, theirs = Pipe()
        self.memory_mb, self.owner, self.calls = memory_mb, os.getpid(), 0
        path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
        command = [sys.executable, "-P", "-m", "udfs.confined", str(theirs.fileno()), str(memory_mb), str(self.owner)]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=2,  # stdout may be a protocol's
            pass_fds=[theirs.fileno()],
            env=ONE_THREAD | os.environ | {"PYTHONPATH": path},
        )
        theirs.close()
        try:
            self.answer(START_S)  # it says when it is ready
        except (EOFError, OSError, TimeoutError) as e:
            raise RuntimeError(f"the decoding process does not start: exit {self.end()}") from e

    def serves(self, memory_mb: int) -> bool:
        """Whether it lives, is ours and not a fork's, and has the wanted limit."""
        alive = self.process.poll() is None
        return alive and self.calls < RECYCLE_AFTER and (self.memory_mb, self.owner) == (memory_mb, os.getpid())

    def answer(self, timeout_s: float) -> tuple[Any, Exception | None]:
        """What it sends next: a result, or the exception that stood in its way."""
        if not self.pipe.poll(timeout_s):
            raise TimeoutError
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


def call(function: Callable[..., Any], *args: Any, timeout_s: float, memory_mb: int) -> Any:
    """Run a module-level function in this thread's child; the child is kept from call to call.

    Raises:
        MediaError: TIMEOUT, CRASH or OOM if the child had to be given up.
        Exception: what the function raises otherwise, with a note that holds the child's traceback.
    """
    message = pickle.dumps((function, args))
    child = _sent(message, memory_mb)
    try:
        result, error = child.answer(timeout_s)
    except TimeoutError as e:
        child.process.kill()
        child.end()
        raise MediaError("TIMEOUT", f"not done after {timeout_s:.0f} s") from e
    except (EOFError, OSError) as e:
        raise _death(child.end()) from e
    if isinstance(error, MemoryError):
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
            child = _mine.child = _Child(memory_mb)
        child.calls += 1
        with contextlib.suppress(ConnectionError):
            child.pipe.send_bytes(message)
            return child
        stop()
    raise RuntimeError("the decoding process dies before it takes a call")


def _death(status: int) -> MediaError:
    name = signal.Signals(-status).name if status < 0 else f"exit {status}"
    code: Code = "OOM" if status == -signal.SIGKILL else "CRASH"  # SIGKILL unasked for is the kernel's memory killer
    return MediaError(code, f"the decoding process died: {name}")
