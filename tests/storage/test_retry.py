"""Retries: a busy store gets requests for a limited time, within the rate of the host."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from udfs.core.errors import MediaError
from udfs.core.host_files import boot_id
from udfs.storage.retry import BURST_S, TURN, BusyError, wait_for_turn, with_retries
from udfs.storage.settings import Params

IN_A_ROW = """
import sys
from pathlib import Path
from udfs.storage.retry import wait_for_turn
for _ in range(75):
    wait_for_turn("s", 100, Path(sys.argv[1]))
"""


def busy(times: int) -> Callable[[], str]:
    """An attempt that answers after that many refusals."""
    left = iter(range(times))

    def attempt() -> str:
        if next(left, None) is not None:
            raise BusyError("503")
        return "answer"

    return attempt


def test_a_store_that_is_busy_for_a_while_answers() -> None:
    assert with_retries(busy(3), "test", Params(requests_per_s=0)) == "answer"


def test_a_store_that_stays_busy_is_unreachable_in_time_with_its_last_error() -> None:
    started = time.monotonic()
    with pytest.raises(MediaError, match=r"UNREACHABLE: 503, at the last of \d+ tries"):
        with_retries(busy(10**6), "test", Params(requests_per_s=0, retry_s=0.5))
    assert time.monotonic() - started < 1


def test_without_retry_s_there_is_one_try() -> None:
    with pytest.raises(MediaError, match="last of 1 tries"):
        with_retries(busy(1), "test", Params(requests_per_s=0, retry_s=0))


def test_another_error_is_not_tried_again() -> None:
    tries = []

    def attempt() -> None:
        tries.append(1)
        raise MediaError("NOT_FOUND", "gone")

    with pytest.raises(MediaError, match="NOT_FOUND"):
        with_retries(attempt, "test", Params())
    assert len(tries) == 1


def test_waits_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    for _ in range(20):
        with_retries(busy(3), "test", Params(requests_per_s=0))
    first, third = waits[::3], waits[2::3]
    assert len(set(first)) == 20
    assert max(first) <= 0.2
    assert max(third) > max(first)


def test_processes_share_one_rate(tmp_path: Path) -> None:
    """150 requests of two processes at 100 per second: 100 at once, the others in half a second."""
    wait_for_turn("s", 100, tmp_path)
    started = time.monotonic()
    both = [subprocess.Popen([sys.executable, "-c", IN_A_ROW, str(tmp_path)]) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    assert time.monotonic() - started >= 150 / 100 - BURST_S - 0.05


def test_a_pause_earns_no_more_than_one_burst(tmp_path: Path) -> None:
    (folder := tmp_path / "turns").mkdir()
    wait_for_turn("s", 50, folder)
    (file,) = folder.iterdir()
    file.write_bytes(TURN.pack(time.monotonic() - 1000, boot_id().encode()))
    started = time.monotonic()
    for _ in range(60):
        wait_for_turn("s", 50, folder)
    assert time.monotonic() - started == pytest.approx(60 / 50 - BURST_S, abs=0.15)


def test_stores_do_not_wait_for_each_other(tmp_path: Path) -> None:
    wait_for_turn("one", 0.01, tmp_path)
    started = time.monotonic()
    wait_for_turn("other", 100, tmp_path)
    assert time.monotonic() - started < 1


@pytest.mark.parametrize(
    "left",
    [
        b"",
        b"junk",
        TURN.pack(1e12, boot_id().encode()),  # of a host whose kernel states no boot
        TURN.pack(time.monotonic() + 1800, b"another boot"),
    ],
    ids=["empty", "junk", "far ahead", "of another boot"],
)
def test_a_time_from_before_a_reboot_is_ignored(tmp_path: Path, left: bytes) -> None:
    wait_for_turn("s", 100, tmp_path)
    next(tmp_path.iterdir()).write_bytes(left)
    started = time.monotonic()
    wait_for_turn("s", 100, tmp_path)
    assert time.monotonic() - started < 1


def test_turns_are_kept_in_a_folder_of_this_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    wait_for_turn("s", 100)
    (folder,) = tmp_path.glob("reelmill-*")  # libraries may have folders of their own there
    assert (folder.name, folder.stat().st_mode & 0o77) == (f"reelmill-turns-{os.getuid()}", 0)
    assert len(list(folder.iterdir())) == 1
