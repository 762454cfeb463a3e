"""spark-submit runs a job from a checkout, from an installed wheel and with --py-files."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.footage import write_numbered
from tests.support.outputs import table
from tests.support.spark_submit import BARE, BIN, LIBRARIES, ROOT, build_wheel, environment, install_wheel

pytestmark = pytest.mark.cluster
DONE = "done: 1 row written, nothing failed"


def submitted(tmp_path: Path, script: Path, *options: str, paths: tuple[str, ...] = ()) -> str:
    """What spark-submit prints of ingesting one video, whose row is in the table afterwards."""
    video = write_numbered(tmp_path / "video.mp4", 30)
    command = [f"{BIN}/spark-submit", "--properties-file", f"{ROOT}/conf/spark/local.conf", *options]
    arguments = [str(script), "--manifest", str(video), "--output", str(tmp_path / "output")]
    run = [*command, *arguments]
    told = subprocess.run(run, env=environment(*paths), cwd=tmp_path, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout + told.stderr
    assert [row["uri"] for row in table(tmp_path / "output", "videos")] == [str(video)]
    return told.stdout  # to which spark-submit sends a script's standard error too


def test_without_any_of_it_there_is_nothing_to_import() -> None:
    env = {"PYTHONPATH": LIBRARIES, "PATH": os.environ["PATH"]}
    told = subprocess.run([BARE, "-c", "import udfs"], env=env, cwd="/", capture_output=True, text=True, check=False)
    assert "No module named 'udfs'" in told.stderr


def test_from_a_checkout(tmp_path: Path) -> None:
    assert DONE in submitted(tmp_path, ROOT / "jobs" / "ingest.py")


def test_from_an_installed_wheel(tmp_path: Path) -> None:
    site = install_wheel(build_wheel(tmp_path), tmp_path / "site")
    assert DONE in submitted(tmp_path, site / "jobs" / "ingest.py", paths=(str(site),))


def test_with_py_files(tmp_path: Path) -> None:
    for package in ("jobs", "udfs", "schemas", "conf"):
        shutil.copytree(ROOT / package, tmp_path / "code" / package, ignore=shutil.ignore_patterns("__pycache__"))
    code = shutil.make_archive(str(tmp_path / "reelmill"), "zip", tmp_path / "code")
    script = Path(shutil.copy(ROOT / "jobs" / "ingest.py", tmp_path / "ingest.py"))
    shutil.rmtree(tmp_path / "code")
    assert DONE in submitted(tmp_path, script, "--py-files", code)
