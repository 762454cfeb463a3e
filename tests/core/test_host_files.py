"""host_files: folders that only their user may change, and locks between processes."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from udfs.core.errors import RunError
from udfs.core.host_files import HostFolderError, acquire, lock, open_lock_file, user_folder

# A process that says when it holds the lock, and keeps it until its standard input ends.
HOLDER = """
import sys
from udfs.core.host_files import lock
with lock(sys.argv[1]):
    print("holds", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where `user_folder("test")` lies."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path / f"reelmill-test-{os.getuid()}"


def holder(path: Path) -> subprocess.Popen[str]:
    """A process that holds the lock of a file."""
    pipe: Any = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdin=pipe, stdout=pipe, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "holds\n"
    return process


def test_a_folder_is_made_once_and_closed_to_others(place: Path) -> None:
    assert user_folder("test") == place
    (place / "kept").touch()
    assert user_folder("test") == place
    assert place.stat().st_mode & 0o777 == 0o700
    assert (place / "kept").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_another_user_is_refused(place: Path) -> None:
    place.mkdir(mode=0o700)
    os.chown(place, 65534, 65534)
    with pytest.raises(HostFolderError, match=r"belongs to another user \(uid 65534\): remove it, or set TMPDIR$"):
        user_folder("test")


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o711])
def test_a_folder_that_is_open_to_others_is_refused(place: Path, mode: int) -> None:
    place.mkdir()
    place.chmod(mode)
    with pytest.raises(HostFolderError, match=rf"open to other users \(mode {mode:04o}\): chmod 700 it$"):
        user_folder("test")


def test_a_link_to_a_folder_is_refused(place: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    place.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(HostFolderError, match="is not a folder"):
        user_folder("test")
    assert issubclass(HostFolderError, RunError)  # so that it ends a run in one line


def test_a_lock_is_held_by_one_process_at_a_time(tmp_path: Path) -> None:
    process = holder(tmp_path / "lock")
    handle = open_lock_file(tmp_path / "lock")
    assert not acquire(handle, wait=False)
    assert not acquire(handle, shared=True, wait=False)
    process.communicate()
    assert acquire(handle, wait=False)
    os.close(handle)


def test_a_process_waits_for_the_lock_of_another_which_loses_it_when_killed(tmp_path: Path) -> None:
    process = holder(tmp_path / "lock")
    killer = subprocess.Popen(["sh", "-c", f"sleep 0.5; kill -9 {process.pid}"])
    started = time.monotonic()
    with lock(tmp_path / "lock") as handle:
        assert time.monotonic() - started > 0.4
        assert os.fstat(handle).st_size == 0
    assert (process.wait(), killer.wait()) == (-9, 0)


def test_a_shared_lock_has_several_holders(tmp_path: Path) -> None:
    handles = [open_lock_file(tmp_path / "lock") for _ in range(3)]
    assert acquire(handles[0], shared=True, wait=False)
    assert acquire(handles[1], shared=True, wait=False)
    assert not acquire(handles[2], wait=False)
    for handle in handles:
        os.close(handle)
