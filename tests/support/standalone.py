"""A standalone Spark cluster on this machine, whose GPUs exist only for a fake nvidia-smi."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.support.spark_submit import BIN, ROOT, environment

WAIT_S = 60
SMI = """#!/bin/sh
echo 0
"""


class Standalone(NamedTuple):
    """A running cluster; the process group of a worker includes its executors."""

    url: str
    log: Path
    workers: list[subprocess.Popen[bytes]]


@contextmanager
def standalone(folder: Path, num_workers: int = 2) -> Iterator[Standalone]:
    """Run a master and workers of two cores, 1 GiB and one GPU each for the length of the block.

    Their settings are those of conf/spark/standalone.conf.
    """
    env = environment() | {"SPARK_DAEMON_MEMORY": "256m", "SPARK_LOCAL_IP": "127.0.0.1", "PATH": path_with_smi(folder)}
    log = folder / "master.log"
    master = _start(["master.Master", "--port", "0", "--webui-port", "0", "--host", "127.0.0.1"], env, log)
    workers: list[subprocess.Popen[bytes]] = []
    try:
        url = _wait_for(log, r"Starting Spark master at (spark://\S+)")
        conf = [
            "--properties-file",
            str(ROOT / "conf/spark/standalone.conf"),
            "--webui-port",
            "0",
            "--host",
            "127.0.0.1",
        ]
        for k in range(num_workers):
            size = ["--cores", "2", "--memory", "1g", "--work-dir", str(folder / f"worker{k}")]
            workers.append(_start(["worker.Worker", *conf, *size, url], env, folder / f"worker{k}.log"))
        _wait_for(log, "(?s)" + "Registering worker.*" * num_workers)
        yield Standalone(url, log, workers)
    finally:
        for process in (*workers, master):
            kill(process)


def path_with_smi(folder: Path) -> str:
    """A PATH with an nvidia-smi that lists one GPU."""
    smi = folder / "bin" / "nvidia-smi"
    smi.parent.mkdir(exist_ok=True)
    smi.write_text(SMI, encoding="utf-8")
    smi.chmod(0o755)
    return os.pathsep.join([str(smi.parent), BIN, os.environ["PATH"]])


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and its group, as a lost machine ends; nothing if it has ended already."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _start(arguments: list[str], env: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    command = [f"{BIN}/spark-class", f"org.apache.spark.deploy.{arguments[0]}", *arguments[1:]]
    with log.open("wb") as out:
        return subprocess.Popen(command, cwd=ROOT, env=env, stdout=out, stderr=out, start_new_session=True)


def _wait_for(log: Path, pattern: str) -> str:
    """Wait until a log matches the pattern; returns its first group, or the whole match."""
    until = time.monotonic() + WAIT_S
    while time.monotonic() < until:
        if match := re.search(pattern, log.read_text(encoding="utf-8", errors="replace")):
            return match[match.lastindex or 0]
        time.sleep(0.1)
    raise TimeoutError(f"{log} does not say {pattern!r}:\n{log.read_text(encoding='utf-8', errors='replace')[-2000:]}")
