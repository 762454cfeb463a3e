"""Call a function in a jailed child process: a hang, a crash or hostile media harm that process only."""

from __future__ import annotations

import atexit
import contextlib
import errno
import logging
import math
import os
import pickle
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import cache
from typing import Any, Literal, NamedTuple, NoReturn, TypedDict

from udfs.core import heartbeat, jail, wire
from udfs.core.errors import MediaError, RunError
from udfs.core.limits import Limits
from udfs.runtime import grants
from udfs.runtime.grants import Grant
from udfs.storage import media_store, parent_files

log = logging.getLogger("reelmill")

RECYCLE_AFTER = 500  # calls, so that a leak in a decoder stays small
START_S = 120.0  # for the child's imports, on a busy machine
# A machine short of memory may kill a starting child, and have memory a moment later.
START_ATTEMPTS, START_PAUSE_S = 4, 1.0
LEAST_CPU_S = 600  # of CPU that a child may take, whatever its calls may take
HEARTBEAT_CHECK_S = 1.0  # between looks at the child's heartbeats and at the size of its files
STOPPED_S = 3.0  # a look that comes so much later: this process was stopped, as by Ctrl-Z, and its child with it
# A task has one core: the thread pools that numerical libraries start by default would not help.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "OPENCV_FOR_THREADS_NUM": "1"}
GPU_PREFIXES = ("CUDA_", "NVIDIA_")  # of variables
Jail = Literal["auto", "require", "off"]

_thread = threading.local()  # each thread has a child of its own: a socket carries one call at a time


class StartError(RunError):
    """No decoding process can be started on this machine."""


class _KilledError(Exception):
    """A child was killed by a SIGKILL that is not ours: the kernel's, or of whoever looks after the machine."""


class Needs(NamedTuple):
    """What a stage's child needs that a jail denies."""

    gpu: bool = False  # whose driver needs devices, sockets and programs: no jail
    own_code: bool = False  # of the user's, which may need files, network and programs: no jail, all variables
    program: str = ""  # the path of one program, which runs in the same jail


NOTHING = Needs()


class Bounds(TypedDict):
    """The time, memory and disk that a call may take, and its jail, as keyword arguments of `call`."""

    timeout_s: float
    total_s: float
    memory_mb: int
    disk_mb: int
    jail: Jail


def bounds(limits: Limits) -> Bounds:
    """The bounds of a call for one input."""
    return Bounds(
        timeout_s=limits.timeout_s,
        total_s=limits.timeout_total_s,
        memory_mb=limits.memory_mb,
        disk_mb=limits.disk_mb,
        jail=limits.jail,
    )


class _Kind(NamedTuple):
    """What a child is started with: calls that need the same share it."""

    memory_mb: int
    disk_mb: int
    cpu_s: int  # in its whole life; 0: any
    jail: Jail
    needs: Needs
    unfinished: str  # the root of an output; empty: none
    path: str  # from which the child imports


class _Clock:
    """The time that a call has left, and the child's signs of life."""

    def __init__(self, child: _Child, timeout_s: float, total_s: float) -> None:
        self.child, self.timeout_s, self.total_s = child, timeout_s, total_s
        self.start = self.last = self.looked = self.sized = time.monotonic()
        self.count = child.beats[0]
        self.poll = select.poll()

    def wait(self, to_write: bool) -> None:
        """Wait until the child's socket can be read or written to.

        Raises:
            TimeoutError: no answer within `timeout_s` of the last heartbeat or byte, or within `total_s`.
            OSError: EFBIG, as `_Child.check_disk`.
        """
        self.poll.register(self.child.socket, select.POLLOUT if to_write else select.POLLIN)
        while True:
            left_s = min(HEARTBEAT_CHECK_S, self.last + self.timeout_s - time.monotonic())
            is_ready = bool(self.poll.poll(max(0.0, left_s) * 1000))
            self.check(is_alive=is_ready)  # also between bytes that come one by one, for ever
            if is_ready:
                return

    def check(self, *, is_alive: bool = False) -> None:
        """Raise what `wait` raises; `is_alive` after a sign of life other than a heartbeat."""
        now = time.monotonic()
        stopped_s = now - self.looked - HEARTBEAT_CHECK_S
        if stopped_s > STOPPED_S:
            self.start, self.last = self.start + stopped_s, self.last + stopped_s
        self.looked = now
        if is_alive or self.child.beats[0] != self.count:
            self.count, self.last = self.child.beats[0], now
        if now - self.last >= self.timeout_s:
            raise TimeoutError(f"no progress for {self.timeout_s:.0f} s")
        if now - self.start >= self.total_s:
            raise TimeoutError(f"not done after {self.total_s:.0f} s")
        if now - self.sized >= HEARTBEAT_CHECK_S:
            self.sized = now
            self.child.check_disk()

    def restart(self) -> None:
        """Count time without a sign of life from now on."""
        self.last = self.looked = time.monotonic()


class _Child:
    """A fresh Python process that answers calls over a socket.

    It is started, not forked: this process has threads and may use a GPU. It is not started by
    multiprocessing, whose children import the parent's `__main__`: in a Spark worker all of
    pyspark.
    """

    def __init__(self, kind: _Kind) -> None:
        self.kind, self.owner, self.calls, self.busy_s = kind, os.getpid(), 0, 0.0
        with contextlib.ExitStack() as stack:
            root = kind.unfinished
            holder = media_store.unfinished_folder(root) if root else media_store.temporary_folder()
            self.folder = os.path.join(stack.enter_context(holder), "own")  # a link in it leads to nothing of others
            os.mkdir(self.folder, 0o700)
            setup = self._setup()
            self.socket, child_socket = socket.socketpair()
            page = heartbeat.new_page()
            self.beats = heartbeat.counter(page)
            try:
                self.process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "udfs.runtime.sandbox_child", str(child_socket.fileno()), str(page)],
                    stdin=subprocess.DEVNULL,
                    stdout=2,  # stdout may be a protocol's
                    pass_fds=[child_socket.fileno(), page],
                    env=self._variables(),
                )
            finally:
                child_socket.close()
                os.close(page)
            self.socket.setblocking(False)
            self.files = stack.pop_all()
        clock = _Clock(self, START_S, math.inf)
        try:
            self.send(setup, clock)
            self.answer(clock, Grant())  # the child's first answer says that it is ready
        except (EOFError, OSError, wire.WireError) as e:
            self.process.kill()
            raise ChildProcessError(f"exit {self.end()}") from e

    def can_serve(self, kind: _Kind) -> bool:
        """Whether the child is alive, is this process's own and not its fork's, and was started for such calls."""
        if self.process.poll() is not None or self.owner != os.getpid() or self.calls >= RECYCLE_AFTER:
            return False
        if kind.cpu_s and self.busy_s >= kind.cpu_s / 2:
            return False
        if not kind.unfinished:  # a call that writes nothing may have any folder
            kind = kind._replace(unfinished=self.kind.unfinished)
        return self.kind == kind and os.path.isdir(self.folder)

    def send(self, message: object, clock: _Clock) -> None:
        """Send a call."""
        parent_files.send_reply(self.socket, message, None, clock.wait)

    def answer(self, clock: _Clock, grant: Grant) -> wire.Message:
        """What the child answers, once it has all files that it asks for and the grant allows.

        Raises:
            TimeoutError: as `_Clock.wait`.
            WireError: it sends no message.
        """
        while True:
            message = wire.receive(self.socket, self.kind.memory_mb << 20, clock.wait)
            if message.kind != wire.REQUEST:
                self.busy_s += time.monotonic() - clock.start
                return message
            clock.check()
            reply, handle = grant.answer(message.value, self.folder)
            clock.restart()
            try:
                parent_files.send_reply(self.socket, reply, handle, clock.wait)
            finally:
                if handle is not None:
                    os.close(handle)

    def check_disk(self) -> None:
        """Refuse a child whose files are too large together.

        Raises:
            OSError: EFBIG.
        """
        num_bytes = 0
        for folder, _, names in os.walk(self.folder):
            for name in names:
                with contextlib.suppress(OSError):
                    num_bytes += os.lstat(os.path.join(folder, name)).st_blocks * 512
        if num_bytes > self.kind.disk_mb << 20:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))

    def end(self) -> int:
        """Close the socket and return the child's exit status; a child that hangs is killed."""
        self.socket.close()
        if self.owner != os.getpid():
            return 0  # another process's child, seen through a fork
        try:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return self.process.wait(0.5)  # a closed socket ends the child, unless it hangs
            self.process.kill()
            return self.process.wait()
        finally:
            with contextlib.suppress(OSError):
                self.files.close()

    def _variables(self) -> dict[str, str]:
        needs, environment = self.kind.needs, os.environ
        kept = dict(environment)
        if not needs.own_code and self.kind.jail != "off":
            kept = jail.variables(environment.items())
            kept |= {"HOME": self.folder, "TMPDIR": self.folder, "PYTHONDONTWRITEBYTECODE": "1"}
        if needs.gpu:
            kept |= {name: value for name, value in environment.items() if name.startswith(GPU_PREFIXES)}
        return ONE_THREAD | kept | {"PYTHONPATH": self.kind.path}

    def _setup(self) -> dict[str, Any]:
        """What the child is to do with itself before its first call."""
        kind = self.kind
        is_jailed = kind.jail != "off" and not (kind.needs.gpu or kind.needs.own_code)
        folders = tuple(kind.path.split(os.pathsep))
        listed = tuple(each for each in folders if os.path.isdir(each))
        rules = jail.Rules(jail.code_paths(folders), listed, self.folder, kind.needs.program)
        return {
            "parent": self.owner,
            "folder": self.folder,
            "limits": (kind.memory_mb, kind.disk_mb, kind.cpu_s * (os.cpu_count() or 1)),
            "rules": rules if is_jailed else None,
        }


def _import_path() -> str:
    return os.pathsep.join(entry or os.getcwd() for entry in sys.path)


def call(
    function: Callable[..., Any],
    *args: Any,
    timeout_s: float,
    memory_mb: int,
    total_s: float = math.inf,
    disk_mb: int = 65_536,
    jail: Jail = "auto",
    needs: Needs = NOTHING,
) -> Any:
    """Run a module-level function in this thread's child; the child is kept from call to call.

    It may take `total_s` in all, and `timeout_s` without a heartbeat (`heartbeat.beat`). It may
    read the files that its arguments name (see `grants.of`).

    Where the child is killed, by the kernel for memory that others may have taken, it is called once
    more: a function must bear that.

    Raises:
        MediaError: TIMEOUT, CRASH or OOM if the child was killed or died, TOO_LARGE if it fills the
            disk.
        StartError: no child process can be started, or none with the jail that is required.
        Exception: what the function raises otherwise, with a note that holds the child's traceback.
    """
    grant = grants.of(function, *args)
    unfinished = grant.outputs.unfinished if grant.outputs else ""
    cpu_s = 0 if math.isinf(total_s) else 2 * max(math.ceil(total_s), LEAST_CPU_S)
    kind = _Kind(memory_mb, disk_mb, cpu_s, jail, needs, unfinished, _import_path())
    message = pickle.dumps((function, args))
    try:
        return _answer(message, kind, grant, timeout_s, total_s)
    except _KilledError:
        time.sleep(START_PAUSE_S)
    try:
        return _answer(message, kind, grants.of(function, *args), timeout_s, total_s)
    except _KilledError as e:
        raise MediaError("OOM", "the decoding process was killed, twice") from e


def _answer(message: bytes, kind: _Kind, grant: Grant, timeout_s: float, total_s: float) -> Any:
    """What a function returns; raises what `call` raises, and _KilledError."""
    child, clock = _send(message, kind, timeout_s, total_s)
    try:
        answer = child.answer(clock, grant)
        if answer.kind != wire.ERROR:
            grant.check(answer.value)
            return answer.value
        error = wire.error_of(answer.value)
    except TimeoutError as e:
        _kill(child)
        raise MediaError("TIMEOUT", str(e)) from e
    except wire.WireError as e:
        _kill(child)
        raise MediaError("CRASH", f"the decoding process answers with what is no answer: {e}") from e
    except EOFError as e:
        raise _error_of_dead_child(child.end()) from e
    except OSError as e:
        if e.errno != errno.EFBIG:
            raise _error_of_dead_child(child.end()) from e
        _kill(child)
        error = e
    except MediaError:
        _kill(child)  # it answers with what it may not
        raise
    _raise(error, kind, child)


def _raise(error: Exception, kind: _Kind, child: _Child) -> NoReturn:
    """Raise a child's error; one of memory or disk becomes a MediaError."""
    number = error.errno if isinstance(error, OSError) else None
    if isinstance(error, MemoryError) or number == errno.ENOMEM:
        child.end()  # its remaining memory would be missing for the next call
        raise MediaError("OOM", f"more than {kind.memory_mb} MB") from error
    if number == errno.EFBIG:
        child.end()
        raise MediaError("TOO_LARGE", f"more than {kind.disk_mb} MB of files, over limits.disk_mb") from error
    raise error


def _kill(child: _Child) -> None:
    child.process.kill()
    child.end()


def stop() -> None:
    """End this thread's child, if it has one."""
    child: _Child | None = getattr(_thread, "child", None)
    if child is not None:
        child.end()
        _thread.child = None


atexit.register(stop)


def _send(message: bytes, kind: _Kind, timeout_s: float, total_s: float) -> tuple[_Child, _Clock]:
    """Send a call; returns the child that took it. A child that died while idle is replaced."""
    for _ in range(2):
        child: _Child | None = getattr(_thread, "child", None)
        if child is None or not child.can_serve(kind):
            stop()
            child = _thread.child = _start(kind)
        child.calls += 1
        clock = _Clock(child, timeout_s, total_s)
        with contextlib.suppress(ConnectionError):
            child.send(message, clock)
            return child, clock
        stop()
    raise StartError("the decoding process dies before it receives a call")


def _start(kind: _Kind) -> _Child:
    _check_jail(kind.jail, kind.needs)
    for attempt in range(1, START_ATTEMPTS + 1):
        try:
            return _Child(kind)
        except OSError as e:  # no process can be created, or it was killed while it started
            if attempt == START_ATTEMPTS:
                raise StartError(f"the decoding process does not start, at the last of {attempt} attempts: {e}") from e
            time.sleep(START_PAUSE_S * 2 ** (attempt - 1))
    raise AssertionError("the last attempt returns or raises")


@cache
def _check_jail(wanted: Jail, needs: Needs) -> None:
    """Warn once, or refuse, where a child is not jailed in full.

    Raises:
        StartError: `limits.jail` is require.
    """
    lacks = jail.missing()
    why = f"this machine lacks {lacks}" if lacks else ""
    if needs.gpu:
        why = "a decoding process that uses a GPU is not jailed"
    if needs.own_code:
        why = "a function of your own that opens files is not jailed"
    if why and wanted == "require":
        raise StartError(f"limits.jail is require, but {why}: set it to auto, or do without")
    if lacks and wanted == "auto":
        log.warning("the decoding process is not fully jailed: %s (docs/security.md)", why)


def _error_of_dead_child(status: int) -> Exception:
    if status == -signal.SIGKILL:
        return _KilledError()
    name = signal.Signals(-status).name if status < 0 else f"exit {status}"
    return MediaError("CRASH", f"the decoding process died: {name}")
