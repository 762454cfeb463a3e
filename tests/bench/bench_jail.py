"""What the jail costs: a decode of a clip of 10 s in the jailed child, beside one by path in a plain process.

The two take turns, and the medians of their CPU seconds are compared. Of the jailed one they are
those of the child and of this process together. The child's start is measured as well.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from tests.support.footage import write_numbered
from udfs.core.limits import Limits
from udfs.runtime import sandbox
from udfs.video import container, decode

ROUNDS, STARTS = 15, 5
MAX_RATIO = 1.03
MAX_START_CPU_S = 0.4
PLAIN = """
import sys
from tests.bench.bench_jail import cpu_of_decode
for line in sys.stdin:
    print(cpu_of_decode(line.strip()), flush=True)
"""


def cpu_of_decode(path: str) -> float:
    """The CPU seconds of decoding a video."""
    before = time.process_time()
    with container.open_video(path, Limits()) as video:
        for _ in decode.frames(video):
            pass
    return time.process_time() - before


def jailed(path: str) -> float:
    """The CPU seconds of a decode in the child, those of asking for it and of opening the file in this process too."""
    before = time.process_time()
    inside = call(cpu_of_decode, path)
    return inside + time.process_time() - before


def call(function: object, *args: object) -> float:
    """The number that a function returns in the child."""
    return float(sandbox.call(function, *args, timeout_s=60, memory_mb=1024))  # type: ignore[arg-type]


def test_the_jail_costs_at_most_three_percent_of_a_decode(tmp_path: Path) -> None:
    path = str(write_numbered(tmp_path / "a.mp4", 300, 30, size=(1280, 720)))
    found = list[tuple[float, float]]()
    with subprocess.Popen([sys.executable, "-c", PLAIN], stdin=-1, stdout=-1, text=True, bufsize=1) as plain:
        assert plain.stdin
        assert plain.stdout
        for _ in range(ROUNDS + 1):
            plain.stdin.write(f"{path}\n")
            beside = float(plain.stdout.readline())
            found.append((jailed(path), beside))
        plain.stdin.close()
    in_jail, beside = (median(each) for each in zip(*found[1:], strict=True))  # the first round imports
    print(f"a decode of 10 s: {in_jail * 1000:.0f} ms in the jail, {beside * 1000:.0f} ms beside it")
    print(f"ratio {in_jail / beside:.3f}")
    assert in_jail <= MAX_RATIO * beside


def test_a_child_starts_in_little_time() -> None:
    costs = []
    call(abs, 1)  # its imports in this process
    for _ in range(STARTS):
        sandbox.stop()
        before = _cpu_s()
        call(abs, 1)
        sandbox.stop()
        costs.append(_cpu_s() - before)
    print(f"a child's start and end: {median(costs):.2f} CPU s")
    assert median(costs) < MAX_START_CPU_S


def _cpu_s() -> float:
    """The CPU seconds of this process and of its children that have ended."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
