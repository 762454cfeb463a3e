"""The program of the sandbox's child: answer the calls that arrive on a pipe, under limits."""

from __future__ import annotations

import ctypes
import os
import pickle
import resource
import signal
import sys
import traceback
from multiprocessing.connection import Connection

from udfs.core import bugs, heartbeat

PR_SET_PDEATHSIG = 1


def _set_limits(memory_mb: int, parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C belongs to the driver
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # also in the middle of a call
    if os.getppid() != parent:
        sys.exit("the parent process has ended")
    limit = memory_mb << 20
    # Not RLIMIT_AS: each thread reserves 64 MiB of address space that it never uses.
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _serve(pipe: Connection) -> None:
    pipe.send((None, None))
    while True:
        try:
            message = pipe.recv_bytes()
        except EOFError:
            return
        pipe.send_bytes(_answer(message))


def _answer(message: bytes) -> bytes:
    try:
        function, args = pickle.loads(message)
        heartbeat.beat()  # the imports are done
        return pickle.dumps((function(*args), None))
    except Exception as e:  # noqa: BLE001 - the parent raises it again
        error = bugs.run_error(e) or e
        error.add_note(f"in the decoding process:\n{traceback.format_exc()}")
        error.add_note(f"{bugs.PLACE_NOTE}{' < '.join(bugs.places(e))}")
        return _pickled_error(error)


def _pickled_error(error: Exception) -> bytes:
    """The pickled exception; one that cannot be pickled becomes a RuntimeError that names it."""
    try:
        answer = pickle.dumps((None, error))
        pickle.loads(answer)
    except Exception:  # noqa: BLE001 - pickling runs the exception's own code, which may raise anything
        named = RuntimeError(f"{type(error).__name__}: {error}")
        named.__notes__ = error.__notes__
        return pickle.dumps((None, named))
    return answer


def main(fd: int, page: int, memory_mb: int, parent: int) -> None:
    """Answer calls until the pipe is closed."""
    _set_limits(memory_mb, parent)
    heartbeat.raise_on(page)
    with Connection(fd) as pipe:
        _serve(pipe)


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
