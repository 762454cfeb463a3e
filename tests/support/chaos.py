"""Faults of machines that befall a run: processes killed, a disk filled, a second run of the same command."""

from __future__ import annotations

import os
import signal
import string
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from jobs import cli
from jobs.lake import commits

WORKER, CHILD, JVM = "jobs.spark.pyspark_daemon", "udfs.runtime.sandbox_child", "org.apache.spark.deploy.SparkSubmit"
PATIENCE_S = 600.0


class Run(NamedTuple):
    """A run as a user starts it, in a session of its own, and what it says."""

    process: subprocess.Popen[bytes]
    log: Path

    def ended(self) -> int:
        """Its exit status, once it has ended with all its processes."""
        status = self.process.wait(PATIENCE_S)
        end = time.monotonic() + PATIENCE_S
        while any(True for _ in processes(self.process.pid)):
            if time.monotonic() > end:
                raise TimeoutError(f"processes are left: {[*processes(self.process.pid)]}")
            time.sleep(0.05)
        return status

    @property
    def told(self) -> str:
        """What it said on standard error."""
        return self.log.read_text(encoding="utf-8")


def start(arguments: list[str], log: Path, commits: int | None = None, table: str = "") -> Run:
    """Start `curate`; with `commits` all of it is killed right after that many commits of tables, or of that table."""
    command = [sys.executable, "-m", "tests.support.chaos", f"{commits or 0}{table}", "curate", *arguments]
    with log.open("ab") as errors:
        return Run(subprocess.Popen(command, start_new_session=True, stderr=errors, stdout=subprocess.DEVNULL), log)


def kill(run: Run, what: str) -> int:
    """Kill a part of a run that is at work: all of it, its driver, its JVM, a worker or a decoding process.

    Returns how many processes were killed.
    """
    own = [*processes(run.process.pid)]
    jvm = [one for one in own if JVM in one[1]]  # whose command line names the other parts
    chosen = {
        "machine": own,
        "driver": [one for one in own if one[0] == run.process.pid],
        "jvm": jvm,
        "worker": [one for one in own if WORKER in one[1] and one not in jvm][-1:],
        "child": [one for one in own if CHILD in one[1]][:1],
    }[what]
    for pid, _ in chosen:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return len(chosen)


def processes(session: int) -> Iterator[tuple[int, str]]:
    """The processes of a session with their command lines, but for those that ended already."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            state, _, _, own = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
            if int(own) == session and state != "Z":
                yield int(folder.name), (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")


def die_after(number: int, table: str) -> None:
    """Let this process and all of its group die right after that many commits of tables, or of that table."""
    left, naming = iter(range(number - 1)), commits.naming

    @contextmanager
    def counting(name: str) -> Iterator[None]:
        with naming(name):
            yield
        if table in ("", name) and next(left, None) is None:
            os.killpg(0, signal.SIGKILL)

    commits.naming = counting


if __name__ == "__main__":
    digits = sys.argv[1].rstrip(string.ascii_letters + "_")
    if number := int(digits):
        die_after(number, sys.argv[1].removeprefix(digits))
    sys.exit(cli.main(sys.argv[2:]))
