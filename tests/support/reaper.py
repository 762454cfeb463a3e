"""Program that runs a command, waits for all of its descendants, and reports the seconds and memory they took.

Usage: reaper.py REPORT COMMAND... The report is JSON: status, cpu_s, wall_s, peak_mb of the command
and its JVMs, all_peak_mb of all processes.

CPU seconds are those of a control group of their own where one can be made. Elsewhere they are those
of all processes that were waited for. A descendant whose parent has died becomes a child of this
program, which waits for it, as for a JVM that outlives its driver; but Ray does not wait for its
workers, and their seconds are lost.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

PR_SET_CHILD_SUBREAPER = 36
GRACE_S = 15.0  # after the command's end; then its daemons are killed
SAMPLE_S = 0.5
GROUPS = (Path("/sys/fs/cgroup/cpuacct"), Path("/sys/fs/cgroup"))  # of control groups, first and second version
PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 2**20


def main(report: str, command: list[str]) -> int:
    """Run the command; returns its exit status."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
    group = _join_group()
    started = time.monotonic()
    pid = os.posix_spawnp(command[0], command, os.environ)
    memory = Memory(pid)
    memory.start()
    status = _wait(pid)
    wall_s = time.monotonic() - started
    memory.ended.set()
    _reap_rest()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = cpu_seconds(os.getpid()) if group else used.ru_utime + used.ru_stime
    if group:
        _leave_group(group)
    facts: dict[str, Any] = {"status": status, "cpu_s": cpu_s, "wall_s": wall_s}
    facts |= {"peak_mb": memory.peak_mb, "all_peak_mb": memory.all_peak_mb}
    Path(report).write_text(json.dumps(facts), encoding="utf-8")
    return status


class Memory(threading.Thread):
    """Samples the resident memory of the descendants until the command ends."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid, self.ended = pid, threading.Event()
        self.peak_mb = self.all_peak_mb = 0.0

    def run(self) -> None:
        """Keep the greatest sums: of the command and its JVMs, and of all processes."""
        while not self.ended.wait(SAMPLE_S):
            resident = {pid: resident_mb(pid) for pid in descendants(os.getpid())}
            drivers = (mb for pid, mb in resident.items() if pid == self.pid or _name(pid) == "java")
            self.peak_mb = max(self.peak_mb, sum(drivers))
            self.all_peak_mb = max(self.all_peak_mb, sum(resident.values()))


def descendants(root: int) -> list[int]:
    """The processes below a process; those that ended may be missing."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (stat := _stat(int(entry))):
            children.setdefault(int(stat[1]), []).append(int(entry))
    found, left = list[int](), [root]
    while left:
        below = children.get(left.pop(), [])
        found += below
        left += below
    return found


def cpu_seconds(reaper: int) -> float:
    """CPU seconds so far of all processes below a running reaper."""
    for path, name, unit in ((GROUPS[0], "cpuacct.usage", 1e9), (GROUPS[1], "cpu.stat", 1e6)):
        with suppress(OSError):
            text = (path / _group_name(reaper) / name).read_text(encoding="utf-8")
            used = int(text.rpartition("usage_usec ")[2].split()[0])
            own = _stat(reaper)
            return used / unit - sum(map(int, own[11:13])) / os.sysconf("SC_CLK_TCK")
    return _waited_seconds(reaper)


def _join_group() -> Path | None:
    """Move this process to a control group of its own; None where that is not allowed."""
    for path in GROUPS:
        group = path / _group_name(os.getpid())
        if not (path / "cgroup.procs").exists():
            continue
        for stale in path.glob(_group_name("*")):
            with suppress(OSError):  # one in use cannot be removed
                stale.rmdir()
        with suppress(OSError):
            group.mkdir()
            (group / "cgroup.procs").write_text(str(os.getpid()), encoding="utf-8")
            return group
    return None


def _leave_group(group: Path) -> None:
    """Move this process back, and remove the empty group."""
    with suppress(OSError):
        (group.parent / "cgroup.procs").write_text(str(os.getpid()), encoding="utf-8")
        group.rmdir()


def _group_name(reaper: int | str) -> str:
    return f"reelmill-bench-{reaper}"


def _waited_seconds(root: int) -> float:
    """CPU seconds of the processes below a process, with those that ended and were waited for."""
    ticks = 0
    for pid in descendants(root):
        if stat := _stat(pid):
            ticks += sum(map(int, stat[11:15]))  # user, system, and both of the children waited for
    if stat := _stat(root):
        ticks += sum(map(int, stat[13:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third on (state, parent ...); none if the process is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def resident_mb(pid: int) -> float:
    """The resident memory of a process; 0 of one that ended."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()[1]) * PAGE_MB
    except OSError:
        return 0.0


def _wait(pid: int) -> int:
    """Reap children until this one ends; its exit status."""
    while True:
        ended, status = os.waitpid(-1, 0)
        if ended == pid:
            return os.waitstatus_to_exitcode(status)


def _reap_rest() -> None:
    """Wait for the descendants that are left, and kill those that stay longer than GRACE_S."""
    deadline = time.monotonic() + GRACE_S
    while True:
        try:
            ended, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if ended:
            continue
        if time.monotonic() > deadline:
            for pid in descendants(os.getpid()):
                _kill(pid)
        time.sleep(0.02)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
