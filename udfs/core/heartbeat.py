"""Heartbeats: a counter by which the parent of the decoding process tells slow work from a hang."""

from __future__ import annotations

import fcntl
import mmap
import os
from typing import Final

PAGE_BYTES: Final = mmap.PAGESIZE
_counter: memoryview | None = None  # of this process, where a parent watches it


def beat() -> None:
    """Report progress: a packet was read, a frame was written, or bytes have arrived.

    Costs 0.1 microseconds.
    """
    if _counter is not None:
        _counter[0] = (_counter[0] + 1) & 0xFFFF_FFFF


def new_page() -> int:
    """A file descriptor of new memory for a parent and its child to share, with a counter of 0.

    Its size is sealed: the child cannot take memory by it, nor take the page away from its parent.
    """
    fd = os.memfd_create("reelmill-beats", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, PAGE_BYTES)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    return fd


def counter(fd: int) -> memoryview:
    """The counter in the memory of `new_page`, as a view of one element."""
    return memoryview(mmap.mmap(fd, PAGE_BYTES)).cast("Q")[:1]


def raise_on(fd: int) -> None:
    """Make every `beat` of this process raise the counter in the memory of `new_page`."""
    global _counter
    _counter = counter(fd)
