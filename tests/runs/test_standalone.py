"""spark-submit on a standalone cluster: the rows of a local run, even if a worker is killed."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs import cli
from jobs.spark.session import LOCAL
from tests.support.footage import write_four_and_a_broken_one
from tests.support.outputs import files, has_clips, tables
from tests.support.spark_submit import BARE, ROOT, build_wheel, copy_source, environment, install_wheel
from tests.support.standalone import Standalone, kill, path_with_smi, standalone
from udfs.storage.media_store import UNFINISHED

pytestmark = pytest.mark.cluster
PAGE = (ROOT / "docs" / "clusters.md").read_text(encoding="utf-8")
CHECKOUT, ZIP, WHEEL = re.findall(
    r"^spark-submit --properties-file conf/spark/standalone\.conf .*$", PAGE, flags=re.MULTILINE
)
ZIPPED = re.findall(r"^python -m zipfile -c .*$", PAGE, flags=re.MULTILINE)[0]
OPTIONS = ["--set=split.clip_len_s=2", "--set=split.min_clip_length_s=1"]
# For two cores and a handful of rows: what a session on one machine has, and executors of the workers' size.
SMALL = LOCAL | {
    "spark.executor.cores": "2",
    "spark.executor.memory": "768m",
    "spark.executor.extraJavaOptions": LOCAL["spark.driver.extraJavaOptions"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the cluster and the outputs are; it has the videos, one of them cut short."""
    there = tmp_path_factory.mktemp("standalone")
    (there / "videos").mkdir()
    write_four_and_a_broken_one(there / "videos")
    return there


@pytest.fixture(scope="module")
def cluster(folder: Path) -> Iterator[Standalone]:
    with standalone(folder) as running:
        yield running


@pytest.fixture(scope="module")
def local(spark: SparkSession, folder: Path) -> Path:
    """The output of a run on one machine."""
    output = folder / "local"
    assert cli.main(["curate", "--manifest", str(folder / "videos"), "--output", str(output), *OPTIONS]) == 0
    return output


def submitted(
    line: str, cluster: Standalone, folder: Path, output: str, cwd: Path, *paths: str
) -> subprocess.Popen[str]:
    """A line of the page at work on the cluster and the test's own videos."""
    small = shlex.join(part for key, value in SMALL.items() for part in ("--conf", f"{key}={value}"))
    line = line.replace("spark-submit", f"spark-submit {small}", 1).replace("spark://HOST:7077", cluster.url)
    files = shlex.join(["--manifest", str(folder / "videos"), "--output", str(folder / output), *OPTIONS])
    line = line.replace("--manifest videos/ --output out", files)
    python = folder / "bin" / "python"  # the driver's, the workers' and the shell's: what is installed on every host
    python.write_text(f'#!/bin/sh\nPYTHONPATH={":".join([*paths, "$PYTHONPATH"])} exec {BARE} "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    env = environment() | {"PATH": path_with_smi(folder), "SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": str(python)}
    told = subprocess.PIPE
    return subprocess.Popen(["bash", "-c", line], cwd=cwd, env=env, stdout=told, stderr=subprocess.STDOUT, text=True)


def ended(run: subprocess.Popen[str]) -> str:
    """What a run printed, once it is done and well."""
    told, _ = run.communicate()
    assert run.returncode == 0, told[-5000:]
    return told


def test_with_py_files_the_rows_are_those_of_a_local_run(
    cluster: Standalone, folder: Path, local: Path, tmp_path: Path
) -> None:
    copy = copy_source(tmp_path)
    subprocess.run(["bash", "-c", ZIPPED], cwd=copy, check=True, env={"PATH": f"{Path(BARE).parent}:/usr/bin:/bin"})
    shutil.copytree(copy / "conf", tmp_path / "conf")
    (tmp_path / "jobs").mkdir()
    for name in ("reelmill.zip", "jobs/curate.py"):
        shutil.copy(copy / name, tmp_path / name)
    shutil.rmtree(copy)
    ended(submitted(ZIP, cluster, folder, "zip", tmp_path))
    assert tables(folder / "zip") == tables(local)
    assert files(folder / "zip") == files(local)


def test_with_the_wheel_on_every_host_too(cluster: Standalone, folder: Path, local: Path, tmp_path: Path) -> None:
    site = install_wheel(build_wheel(tmp_path), tmp_path / "site")
    shutil.copytree(site / "conf", tmp_path / "conf")
    ended(submitted(WHEEL, cluster, folder, "wheel", tmp_path, str(site)))
    assert tables(folder / "wheel") == tables(local)


def test_from_a_checkout_with_a_worker_killed_while_it_cuts(cluster: Standalone, folder: Path, local: Path) -> None:
    """The last of these tests, since the cluster has one worker from then on."""
    run = submitted(CHECKOUT, cluster, folder, "killed", ROOT)
    until = time.monotonic() + 900
    while not has_clips(folder / "killed" / "media" / UNFINISHED):
        assert run.poll() is None, ended(run)
        assert time.monotonic() < until
        time.sleep(0.02)
    kill(cluster.workers[0])
    told = ended(run)
    assert "Lost executor" in told
    assert tables(folder / "killed") == tables(local)
    unfinished = f"media/{UNFINISHED}/"  # the killed worker's; the next run sweeps them up
    assert {name: sha for name, sha in files(folder / "killed").items() if not name.startswith(unfinished)} == files(
        local
    )
