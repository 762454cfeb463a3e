"""Ctrl-C and SIGTERM end a run with one line and all its processes; the next run continues."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import chaos
from tests.support.footage import numbers, write_numbered
from tests.support.outputs import has_clips, table

pytestmark = pytest.mark.kill
ROOT = Path(__file__).resolve().parents[2]
LINE = "reelmill: stopped; the same command goes on from here"
PATIENCE_S = 300.0


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for i in range(4):
        write_numbered(folder / f"{i}.mp4", 300, size=(640, 480), first=300 * i)
    return folder


def started(manifest: Path, folder: Path) -> subprocess.Popen[str]:
    """A run as a user starts it, in a folder and a session of its own."""
    command = [sys.executable, "-m", "jobs", "curate", str(manifest), "-o", "out", "--set", "split.clip_len_s=2"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command, cwd=folder, env=environment, start_new_session=True, stderr=subprocess.PIPE, text=True
    )


def processes(session: int) -> list[str]:
    """The commands of a session's processes."""
    return [command for _, command in chaos.processes(session)]


def wait_until(condition: Callable[[], object]) -> None:
    """Wait for a condition.

    Raises:
        TimeoutError: it does not come true.
    """
    end = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(0.02)


def in_start_up(run: subprocess.Popen[str], folder: Path) -> object:
    """Spark's JVM is there, and no table yet."""
    return any("java" in name for name in processes(run.pid))


def in_a_stage(run: subprocess.Popen[str], folder: Path) -> object:
    """The first clip is being written, or was."""
    return has_clips(folder / "out/media")


def in_a_commit(run: subprocess.Popen[str], folder: Path) -> object:
    """The first version of a table was committed: the next commit begins."""
    return (folder / "out/tables/clips/_delta_log/00000000000000000000.json").exists()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("moment", [in_start_up, in_a_stage, in_a_commit])
def test_a_signal_ends_a_run_in_one_line_with_all_its_processes(
    moment: Callable[[subprocess.Popen[str], Path], object], number: int, status: int, manifest: Path, tmp_path: Path
) -> None:
    run = started(manifest, tmp_path)
    wait_until(lambda: moment(run, tmp_path) or run.poll() is not None)
    os.kill(run.pid, number)
    _, told = run.communicate(timeout=60)
    assert run.returncode == status, told
    assert told.endswith(f"{LINE}\n")
    assert told.count(LINE) == 1
    assert moment is in_start_up or "starting Spark (20 to 60 seconds on a small machine)" in told
    assert "Traceback" not in told
    assert "py4j" not in told
    wait_until(lambda: not processes(run.pid))
    clips = [path for path in (tmp_path / "out/media/clips").rglob("*.mp4") if path.is_file()]
    assert {len(numbers(path)) for path in clips} <= {60}  # no half file has the name of a clip
    assert [path.name for path in tmp_path.iterdir() if path.name != "out"] == []


def test_the_run_after_a_signal_ends_what_was_begun(manifest: Path, tmp_path: Path) -> None:
    run = started(manifest, tmp_path)
    wait_until(lambda: in_a_stage(run, tmp_path))
    os.kill(run.pid, signal.SIGINT)
    run.communicate(timeout=60)
    again = started(manifest, tmp_path)
    _, told = again.communicate(timeout=PATIENCE_S)
    assert again.returncode == 0, told
    assert len(table(tmp_path / "out", "clips")) == 20
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_signal_before_the_code_is_there_is_one_line_too(tmp_path: Path) -> None:
    code = (
        "import os, signal; from jobs.config import interrupts; interrupts.end_on_signals(); "
        "os.kill(os.getpid(), signal.SIGINT)"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (130, f"{LINE}\n")
