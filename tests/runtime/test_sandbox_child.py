"""The program of the decoding process, started as the sandbox starts it and asked over its pipe."""

from __future__ import annotations

import os
import pickle
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support import sandbox_calls
from udfs.core import heartbeat
from udfs.core.errors import MediaError, OutputError

MEMORY_MB = 512
AT_MOST_S = 20.0


class Child(NamedTuple):
    """A running child, this end of its pipe, and its heartbeats."""

    process: subprocess.Popen[str]
    pipe: Connection
    beats: memoryview


@contextmanager
def started(parent: int | None = None) -> Iterator[Child]:
    """Start the program; `parent` is the process that it is to belong to, by default this one."""
    pipe, child_pipe = Pipe()
    page = heartbeat.new_page()
    numbers = [str(number) for number in (child_pipe.fileno(), page, MEMORY_MB, parent or os.getpid())]
    process = subprocess.Popen(
        [sys.executable, "-m", "udfs.runtime.sandbox_child", *numbers],
        stderr=subprocess.PIPE,
        text=True,
        pass_fds=[child_pipe.fileno(), page],
        cwd=Path(__file__).parents[2],
    )
    child_pipe.close()
    with process, pipe:
        try:
            yield Child(process, pipe, heartbeat.counter(page))
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
    assert child.pipe.poll(AT_MOST_S)
    result, error = child.pipe.recv()
    return result, error


def ask(child: Child, function: Callable[..., Any], *args: Any) -> tuple[Any, Any]:
    """The answer to a call."""
    child.pipe.send_bytes(pickle.dumps((function, args)))
    return answer(child)


def error_of(child: Child, function: Callable[..., Any], *args: Any) -> Exception:
    """The error of a call that fails; the child still answers after it."""
    result, error = ask(child, function, *args)
    assert result is None
    assert isinstance(error, Exception)
    assert ask(child, abs, -1) == (1, None)
    return error


def test_it_answers_calls_until_its_pipe_is_closed() -> None:
    with started() as child:
        assert answer(child) == (None, None)  # ready
        assert [ask(child, abs, number) for number in (-1, -2)] == [(1, None), (2, None)]
        assert ask(child, os.getpid) == (child.process.pid, None)
        child.pipe.close()
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
            child.pipe.recv()


def test_ctrl_c_is_left_to_the_driver(child: Child) -> None:
    child.process.send_signal(signal.SIGINT)
    assert ask(child, abs, -1) == (1, None)


def test_its_memory_is_limited_and_it_leaves_no_core_file(child: Child) -> None:
    assert ask(child, resource.getrlimit, resource.RLIMIT_DATA) == ((MEMORY_MB << 20,) * 2, None)
    assert ask(child, resource.getrlimit, resource.RLIMIT_CORE) == ((0, 0), None)
    assert isinstance(error_of(child, sandbox_calls.allocate, MEMORY_MB + 100), MemoryError)


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
    assert isinstance(error, OutputError)
    assert str(error) == "No space left on device: /out/media/a.mp4"


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (sandbox_calls.raise_unportable, "Unportable: <function Unportable"),
        (sandbox_calls.raise_unreadable, "Unreadable: no such codec"),
    ],
)
def test_an_error_that_cannot_be_sent_is_named(child: Child, function: Callable[[], None], said: str) -> None:
    error = error_of(child, function)
    assert (type(error), str(error)[: len(said)]) == (RuntimeError, said)
    assert f"in {function.__name__}" in error.__notes__[0]


def test_a_result_that_cannot_be_sent_is_an_error(child: Child) -> None:
    assert "cannot pickle" in str(error_of(child, threading.Lock))


def test_a_message_that_is_no_call_is_an_error(child: Child) -> None:
    child.pipe.send_bytes(b"junk")
    result, error = answer(child)
    assert (result, type(error)) == (None, pickle.UnpicklingError)


def test_no_child_outlives_a_killed_parent(tmp_path: Path) -> None:
    script = (
        "from tests.support import sandbox_calls; from udfs.runtime import sandbox; import sys; "
        "sandbox.call(sandbox_calls.write_pid_and_sleep, sys.argv[1], timeout_s=60, memory_mb=512)"
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
