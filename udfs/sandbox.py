"""A function and its arguments -> its result, computed in a child process that may hang, crash or eat memory alone."""

from __future__ import annotations

import atexit
import multiprocessing
import resource
import signal
import sys
from collections.abc import Callable
from concurrent.futures import TimeoutError
from functools import lru_cache
from typing import Any

from pebble import ProcessExpired, ProcessPool

from udfs.errors import MediaError

RECYCLE_AFTER = 500  # calls, so that a leak in a decoder stays small


def call(function: Callable[..., Any], *args: Any, timeout_s: float, memory_mb: int) -> Any:
    """Run a module-level function in this process's child; the child is kept from call to call.

    Raises:
        MediaError: TIMEOUT, CRASH or OOM if the child had to be given up; what the function raises otherwise.
    """
    future = _pool(memory_mb).schedule(function, args=args, timeout=timeout_s)
    try:
        return future.result()
    except TimeoutError as e:
        raise MediaError("TIMEOUT", f"not done after {timeout_s:.0f} s") from e
    except ProcessExpired as e:
        raise _death(e.exitcode) from e
    except MemoryError as e:
        raise MediaError("OOM", f"more than {memory_mb} MB") from e


def _death(exitcode: int) -> MediaError:
    name = signal.Signals(-exitcode).name if exitcode < 0 else f"exit {exitcode}"
    code = "OOM" if exitcode == -signal.SIGKILL else "CRASH"  # SIGKILL without our asking is the kernel's memory killer
    return MediaError(code, f"the decoding process died: {name}")  # type: ignore[arg-type]


@lru_cache(maxsize=1)
def _pool(memory_mb: int) -> ProcessPool:
    # Children are forked from a fresh server, not from this process, which has threads and may hold a GPU.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["udfs.media"])
    pool = ProcessPool(max_workers=1, max_tasks=RECYCLE_AFTER, context=context, initializer=_confine, initargs=(memory_mb,))
    atexit.register(pool.stop)
    return pool


def _confine(memory_mb: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C belongs to the driver
    limit = memory_mb << 20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.stdout = sys.stderr
