"""Heartbeats: a counter that work in the decoding process raises, and its parent watches to tell slow work from a hang."""

from __future__ import annotations

import mmap
import os
from typing import Final

PAGE_BYTES: Final = mmap.PAGESIZE
_counter: memoryview | None = None  # of this process, where a parent watches it


def beat() -> None:
    """Say that work has got on: a packet was read, a frame was written, or bytes have come. Costs 0.1 microseconds."""
    if _counter is not None:
        _counter[0] = (_counter[0] + 1) & 0xFFFF_FFFF


def new_page() -> int:
    """A file descriptor of memory that a parent and its child share, with a counter of 0."""
    fd = os.memfd_create("reelmill-beats")
    os.ftruncate(fd, PAGE_BYTES)
    return fd


def counter(fd: int) -> memoryview:
    """The counter that lies in such memory, as the one element of a view."""
    return memoryview(mmap.mmap(fd, PAGE_BYTES)).cast("Q")[:1]


def raise_on(fd: int) -> None:
    """Let every `beat` of this process raise the counter that lies in such memory."""
    global _counter
    _counter = counter(fd)
