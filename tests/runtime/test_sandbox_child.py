"""The program of the decoding process, started as the sandbox starts it and asked over its socket."""

from __future__ import annotations

import os
import pickle
import resource
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support import sandbox_calls
from udfs.core import heartbeat, wire
from udfs.core.errors import MediaError, OutputError
from udfs.storage import parent_files

MEMORY_MB, DISK_MB = 512, 100
AT_MOST_S = 20.0


class Child(NamedTuple):
    """A running child, this end of its socket, and its heartbeats."""

    process: subprocess.Popen[str]
    socket: socket.socket
    beats: memoryview


def never(to_write: bool) -> None:
    """Wait for a socket that does not block, which these are not."""
    raise AssertionError(to_write)


@contextmanager
def started(parent: int | None = None) -> Iterator[Child]:
    """Start the program; `parent` is the process that it is to belong to, by default this one."""
    own, childs = socket.socketpair()
    page = heartbeat.new_page()
    process = subprocess.Popen(
        [sys.executable, "-m", "udfs.runtime.sandbox_child", str(childs.fileno()), str(page)],
        stderr=subprocess.PIPE,
        text=True,
        pass_fds=[childs.fileno(), page],
        cwd=Path(__file__).parents[2],
    )
    childs.close()
    setup = {"parent": parent or os.getpid(), "folder": "", "limits": (MEMORY_MB, DISK_MB, 0), "rules": None}
    parent_files.send_reply(own, setup, None, never)
    with process, own:
        try:
            yield Child(process, own, heartbeat.counter(page))
        finally:
            os.close(page)
            process.kill()


@pytest.fixture(scope="module")
def child() -> Iterator[Child]:
    """A child that is ready."""
    with started() as child:
        assert answer(child) == (None, None)
        yield child


def answer(child: Child) -> tuple[Any, Any]:
    """What the child sends next: a result and an error."""
    assert select.select([child.socket], [], [], AT_MOST_S)[0]
    message = wire.receive(child.socket, 1 << 30)
    return (None, wire.error_of(message.value)) if message.kind == wire.ERROR else (message.value, None)


def ask(child: Child, function: Callable[..., Any], *args: Any) -> tuple[Any, Any]:
    """The answer to a call."""
    parent_files.send_reply(child.socket, pickle.dumps((function, args)), None, never)
    return answer(child)


def error_of(child: Child, function: Callable[..., Any], *args: Any) -> Exception:
    """The error of a call that fails; the child still answers after it."""
    result, error = ask(child, function, *args)
    assert result is None
    assert isinstance(error, Exception)
    assert ask(child, abs, -1) == (1, None)
    return error


def test_it_answers_calls_until_its_socket_is_closed() -> None:
    with started() as child:
        assert answer(child) == (None, None)  # ready
        assert [ask(child, abs, number) for number in (-1, -2)] == [(1, None), (2, None)]
        assert ask(child, os.getpid) == (child.process.pid, None)
        child.socket.close()
        assert child.process.wait(AT_MOST_S) == 0


def test_every_call_beats_once_its_imports_are_done(child: Child) -> None:
    before = child.beats[0]
    ask(child, abs, -1)
    assert child.beats[0] == before + 1
    ask(child, sandbox_calls.beat_for, 0.25)
    assert child.beats[0] > before + 2


def test_it_serves_no_other_process_than_its_parent() -> None:
    with started(parent=os.getpid() + 1) as child:
        _, said = child.process.communicate(timeout=AT_MOST_S)
        assert (child.process.returncode, said) == (1, "the parent process has ended\n")
        with pytest.raises(EOFError):
            wire.receive(child.socket, 1 << 30)


def test_ctrl_c_is_left_to_the_driver(child: Child) -> None:
    child.process.send_signal(signal.SIGINT)
    assert ask(child, abs, -1) == (1, None)


def test_its_memory_is_limited_and_it_leaves_no_core_file(child: Child) -> None:
    assert ask(child, resource.getrlimit, resource.RLIMIT_DATA) == ((MEMORY_MB << 20,) * 2, None)
    assert ask(child, resource.getrlimit, resource.RLIMIT_CORE) == ((0, 0), None)
    assert ask(child, resource.getrlimit, resource.RLIMIT_FSIZE) == ((DISK_MB << 20,) * 2, None)
    assert isinstance(error_of(child, sandbox_calls.allocate, MEMORY_MB + 100), MemoryError)


def test_it_never_takes_real_time_priority(child: Child) -> None:
    assert isinstance(error_of(child, sandbox_calls.take_real_time), PermissionError)


def test_a_bad_input_is_an_error_with_its_code(child: Child) -> None:
    error = error_of(child, sandbox_calls.raise_media_error)
    assert isinstance(error, MediaError)
    assert (error.code, error.message) == ("CORRUPT", "as ordered")


def test_a_bug_brings_its_traceback_and_its_place(child: Child) -> None:
    error = error_of(child, sandbox_calls.raise_bug)
    assert isinstance(error, KeyError)
    traceback, place = error.__notes__
    assert traceback.startswith("in the decoding process:\nTraceback")
    assert place.startswith("raised at support/sandbox_calls.py:")
    assert " in raise_bug < runtime/sandbox_child.py:" in place


def test_a_full_disk_is_an_error_of_the_run(child: Child) -> None:
    error = error_of(child, sandbox_calls.double, {"n": "disk"})
    assert type(error) is OutputError
    assert str(error) == "No space left on device: /out/media/a.mp4"


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (sandbox_calls.raise_unportable, "Unportable: <function Unportable"),
        (sandbox_calls.raise_unreadable, "Unreadable: no such codec"),
    ],
)
def test_an_error_of_an_unknown_class_keeps_its_name(child: Child, function: Callable[[], None], said: str) -> None:
    error = error_of(child, function)
    assert f"{type(error).__name__}: {error}"[: len(said)] == said
    assert f"in {function.__name__}" in error.__notes__[0]


def test_a_result_that_cannot_be_sent_is_an_error(child: Child) -> None:
    assert "a value of type lock cannot be sent" in str(error_of(child, threading.Lock))


def test_a_message_that_is_no_call_is_an_error(child: Child) -> None:
    parent_files.send_reply(child.socket, b"junk", None, never)
    result, error = answer(child)
    assert (result, type(error).__name__) == (None, "UnpicklingError")


def test_no_child_outlives_a_killed_parent(tmp_path: Path) -> None:
    script = (
        "from tests.support import sandbox_calls; from udfs.runtime import sandbox; import sys; "
        "sandbox.call(sandbox_calls.write_pid_and_sleep, sys.argv[1], timeout_s=60, memory_mb=512, jail='off')"
    )
    pid_file = tmp_path / "pid"
    parent = subprocess.Popen([sys.executable, "-c", script, str(pid_file)], cwd=Path(__file__).parents[2])
    wait_for(lambda: pid_file.exists() and pid_file.read_text() != "")
    parent.kill()
    parent.wait()
    child = Path("/proc") / pid_file.read_text()
    wait_for(lambda: not child.exists() or ") Z " in (child / "stat").read_text())


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + AT_MOST_S
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
