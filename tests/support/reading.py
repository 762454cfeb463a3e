"""Commands that only read an output: started in processes of their own, or called in this one."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from jobs import cli

# What takes longer than the answer may: Spark, pandas, and the code of the stages.
TRY = """
import sys
from jobs import cli
status = cli.main(sys.argv[1:])
loaded = {"pyspark", "py4j", "delta", "pandas", "cv2", "av"} & set(sys.modules)
assert not loaded, loaded
sys.exit(status)
"""


def without_spark(*arguments: str) -> str:
    """What a command prints in a process that must load nothing slow."""
    done = subprocess.run([sys.executable, "-c", TRY, *arguments], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


def started(*arguments: str, encoding: str = "utf-8") -> tuple[int, str, str]:
    """Status, output and errors of a command in a process, where standard output has an encoding."""
    environment = os.environ | {"PYTHONIOENCODING": encoding, "JAVA_HOME": "/nowhere"}
    done = subprocess.run([sys.executable, "-m", "jobs", *arguments], env=environment, capture_output=True, check=False)
    return done.returncode, done.stdout.decode(encoding), done.stderr.decode(encoding)


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Status, output and errors of a command in this process."""
    status = cli.main(arguments)
    printed = capsys.readouterr()
    return status, printed.out, printed.err
