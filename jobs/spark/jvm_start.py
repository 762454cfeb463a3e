"""Start Spark's JVM: what it says meanwhile goes to a file, and one process at a time fetches its packages."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pyspark import SparkConf, SparkContext

from jobs.spark import scratch
from udfs.core.host_files import lock, user_folder

FETCHING = "fetching.lock"  # in a folder of the user: held while a JVM fetches its packages
GAVE_UP = "JAVA_GATEWAY_EXITED"  # PySpark's name for a JVM that ended before it could be reached
# Why a JVM gives up, as its standard error says it.
GIVES_UP = re.compile(r"^(?:Exception in thread [^:]*: |Error: |(?=Unrecognized |Invalid ))(.*)$", re.MULTILINE)
CAUSED_BY = re.compile(r"^Caused by: [\w.$]+: (.*)$", re.MULTILINE)


@contextmanager
def logged(*, quiet: bool) -> Iterator[Path | None]:
    """While the JVM starts, its standard error is a file: messages of Ivy and Spark go there."""
    if not quiet:
        yield None
        return
    path = Path(scratch.folder(), "start.log")
    sys.stderr.flush()
    kept = os.dup(2)
    with open(path, "ab") as log:
        log.truncate(0)  # of what an earlier start of this process said
        os.dup2(log.fileno(), 2)
    try:
        yield path
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)


def start(settings: dict[str, str]) -> None:
    """Start the JVM, which fetches packages first, while no other process of this user does.

    Ivy locks nothing: of two that fetch the same file at once one finds half of it, and does not start.
    """
    with lock(user_folder("spark") / FETCHING):
        SparkContext._ensure_initialized(conf=SparkConf(loadDefaults=False).setAll(list(settings.items())))


def said(log_path: Path) -> str:
    """Why the JVM gave up, in one line; empty if it did not say so."""
    text = log_path.read_text(errors="replace")
    lines: list[str] = CAUSED_BY.findall(text)[-1:] or GIVES_UP.findall(text)[:1]
    return "".join(lines)
