"""Heartbeats: a parent reads the counter that its child raises."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from udfs.core import heartbeat

# A process that beats before its parent can watch it, which does nothing, and three times after.
CHILD = """
import os, sys
from udfs.core import heartbeat
heartbeat.beat()
heartbeat.raise_on(int(sys.argv[1]))
for _ in range(3):
    heartbeat.beat()
os.kill(os.getpid(), int(sys.argv[2]))
"""


@pytest.fixture
def page() -> Iterator[int]:
    fd = heartbeat.new_page()
    yield fd
    os.close(fd)


def beat_in_a_child(page: int, ended_by: int = 0) -> int:
    """The exit status of a process that beats three times on the page."""
    command = [sys.executable, "-c", CHILD, str(page), str(ended_by)]
    return subprocess.run(command, pass_fds=[page], check=False).returncode


def test_a_parent_counts_the_beats_of_its_child(page: int) -> None:
    beats = heartbeat.counter(page)
    assert beats[0] == 0
    assert beat_in_a_child(page) == 0
    assert beats[0] == 3


def test_the_count_outlives_the_child_and_the_descriptor() -> None:
    page = heartbeat.new_page()
    beats = heartbeat.counter(page)
    assert beat_in_a_child(page, signal.SIGKILL) == -signal.SIGKILL
    os.close(page)
    assert beats[0] == 3


def test_two_children_do_not_count_on_one_page(page: int) -> None:
    other = heartbeat.new_page()
    assert beat_in_a_child(page) == 0
    assert (heartbeat.counter(page)[0], heartbeat.counter(other)[0]) == (3, 0)
    os.close(other)


def test_the_counter_starts_again_at_its_end(page: int) -> None:
    beats = heartbeat.counter(page)
    beats[0] = 2**32 - 1
    assert beat_in_a_child(page) == 0
    assert beats[0] == 2


@pytest.mark.parametrize("size", [0, 1 << 30])
def test_the_size_of_the_page_is_sealed(size: int) -> None:
    page = heartbeat.new_page()
    try:
        with pytest.raises(PermissionError):
            os.ftruncate(page, size)
    finally:
        os.close(page)
