"""What a process frees stays its own: frames' arrays are not fresh pages each time."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

FRAMES = """
import resource, sys
import numpy as np
from udfs.core import heap
if sys.argv[1] == "keep":
    heap.keep_freed()
def frame():
    luma = np.ones((360, 640), np.uint8)
    return float(np.abs(luma.astype(np.int16) - luma).mean())
frame()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(200):
    frame()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(how: str, **settings: str) -> int:
    """Page faults of 200 frames in a process of its own."""
    command = [sys.executable, "-c", FRAMES, how]
    told = subprocess.run(command, env=os.environ | settings, capture_output=True, text=True, check=True).stdout
    return int(told)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's settings")
def test_frames_take_pages_once() -> None:
    assert page_faults("keep") < page_faults("as ever") / 20


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's settings")
def test_settings_of_ones_own_stay() -> None:
    own = {"MALLOC_TRIM_THRESHOLD_": "0", "MALLOC_MMAP_THRESHOLD_": "65536"}
    assert page_faults("keep", **own) > 20 * page_faults("keep")
