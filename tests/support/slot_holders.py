"""Processes that take a slot of a GPU, work, idle and give it up."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# A process that takes a slot, prints that, works until a line arrives, and prints when it gives the slot up.
HOLDER = """
import sys
from udfs.runtime.gpu_slots import Slot
slot = Slot(sys.argv[1], int(sys.argv[2]), lambda: print("gave up", flush=True))
with slot.busy:
    print("holds", flush=True)
    sys.stdin.readline()
sys.stdin.readline()
"""


@contextmanager
def holder(gpu: str, share: int) -> Iterator[subprocess.Popen[str]]:
    """Start a process that takes one of `share` slots of a GPU; it is killed at the end of the block."""
    pipe: Any = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", HOLDER, gpu, str(share)], stdin=pipe, stdout=pipe, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def said(process: subprocess.Popen[str]) -> str:
    """Wait for the next line that the process prints: `holds` or `gave up`."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def idle(process: subprocess.Popen[str]) -> None:
    """End the work of the process, which then gives its slot to another one that waits."""
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()
