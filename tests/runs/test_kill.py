"""Runs killed at any moment: the same command ends with the rows and files of a complete run."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.footage import write_four_and_a_broken_one
from tests.support.outputs import files, table, tables

pytestmark = pytest.mark.kill
KILLS = 5


def started(manifest: Path, output: Path) -> subprocess.Popen[bytes]:
    """A run as a user starts it, in a process group of its own."""
    options = ["--set", "split.clip_len_s=2", "--set", "curate.wave_videos=2"]
    command = [sys.executable, "-m", "jobs.curate", "--manifest", str(manifest), "--output", str(output), *options]
    return subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_four_and_a_broken_one(tmp_path_factory.mktemp("videos"))


def test_five_kills_then_a_run_equal_a_run_left_alone(manifest: Path, tmp_path: Path) -> None:
    begun = time.monotonic()
    assert started(manifest, tmp_path / "alone").wait() == 0
    took_s = time.monotonic() - begun
    moments = random.Random(7)
    survived = []
    for kill in range(KILLS):
        run = started(manifest, tmp_path / "killed")
        time.sleep(moments.uniform(0.2, 0.9) * took_s)
        # By turns the driver alone, as the kernel's memory killer would, and all of it, as a lost machine.
        (os.killpg if kill % 2 else os.kill)(run.pid, signal.SIGKILL)
        run.wait()
        survived.append(len(table(tmp_path / "killed", "clips")))
    assert started(manifest, tmp_path / "killed").wait() == 0
    assert survived == sorted(survived)
    assert tables(tmp_path / "killed") == tables(tmp_path / "alone")
    assert files(tmp_path / "killed") == files(tmp_path / "alone")
