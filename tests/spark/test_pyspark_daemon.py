"""Python workers of one machine have no archive on their path, and the pyspark that is installed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from zipfile import ZipFile

import pandas as pd
import pyspark
import pytest
from pyspark.sql import SparkSession

PRINT = """
import sys
from jobs.spark import pyspark_daemon
print(*sys.path, sep="\\n", file=sys.stderr)
print(sys.modules["pyspark"].__file__, pyspark_daemon.manager.__module__)
"""


def test_the_archives_that_spark_puts_first_are_not_read(tmp_path: Path) -> None:
    archive, jar, folder = tmp_path / "pyspark.zip", tmp_path / "delta.jar", tmp_path / "jars.zip.d"
    with ZipFile(archive, "w") as file:
        file.writestr("pyspark/__init__.py", "raise SystemExit('the pyspark of the archive')")
    jar.write_bytes(archive.read_bytes())
    folder.mkdir()
    path = os.pathsep.join(map(str, (archive, jar, folder, Path.cwd())))
    done = subprocess.run(
        [sys.executable, "-c", PRINT], env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [pyspark.__file__, "pyspark.daemon"]
    assert {str(folder), str(Path.cwd())} <= set(done.stderr.splitlines())
    assert not {str(archive), str(jar)} & set(done.stderr.splitlines())


def path(batches: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    for _ in batches:
        yield pd.DataFrame({"entry": sys.path})


@pytest.mark.spark
def test_workers_read_no_archive_at_the_start_of_every_task(spark: SparkSession) -> None:
    entries = {row["entry"] for row in spark.range(1).mapInPandas(path, "entry string").collect()}
    assert not [entry for entry in entries if entry.endswith((".jar", ".zip")) and "/python3" not in entry]
