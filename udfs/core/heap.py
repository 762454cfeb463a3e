"""Keep the memory that a process frees, for the arrays of its next frame."""

from __future__ import annotations

import ctypes
import os

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
KEPT_BYTES = 64 << 20  # at the end of the heap
MAPPED_BYTES = 32 << 20  # from this size on an array gets pages of its own; the most that glibc takes
OWN_SETTINGS = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")  # of whoever started the program


def keep_freed() -> None:
    """Let glibc give back less of what is freed; nothing where another malloc or settings of one's own are in use.

    By default each frame's arrays come as fresh pages, which the kernel clears: a third of the CPU of scoring frames.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt and not any(name in os.environ for name in OWN_SETTINGS):
        mallopt(TRIM_THRESHOLD, KEPT_BYTES)
        mallopt(MMAP_THRESHOLD, MAPPED_BYTES)
