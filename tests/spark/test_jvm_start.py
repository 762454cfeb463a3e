"""A JVM that does not start says why, and one process at a time fetches packages."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.spark.jvm_start import FETCHING
from udfs.core.host_files import lock, user_folder

pytestmark = pytest.mark.spark


def starting(**settings: str) -> subprocess.Popen[str]:
    """A process of its own that starts a session with these settings, given by names without their dots."""
    named = {f"spark.{key.replace('_', '.')}": value for key, value in settings.items()}
    code = f"from jobs.spark.session import connect; connect({json.dumps(named)}, verbose=False)"
    return subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)


def test_a_java_that_does_not_start_says_why() -> None:
    error = starting(master="local[1]", driver_extraJavaOptions="-Xssnope").communicate(timeout=60)[1].splitlines()[-1]
    assert "SessionError: Spark did not start: Invalid thread stack size: -Xssnope; Spark's log is /" in error
    assert "Invalid thread stack size" in Path(error.rpartition(" is ")[2]).read_text()


def test_packages_are_fetched_by_one_process_at_a_time() -> None:
    with lock(user_folder("spark") / FETCHING):
        process = starting(master="local[1]", driver_extraJavaOptions="-Xssnope", jars_packages="io.delta:nothing:0")
        with pytest.raises(subprocess.TimeoutExpired):
            process.communicate(timeout=5)
    assert "Spark did not start" in process.communicate(timeout=60)[1]
