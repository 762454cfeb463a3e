"""A host that is down costs minutes for any number of files, and is used again once it answers."""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests.support.downloads import ONCE
from tests.support.web_server import Page, serving
from udfs.core.errors import MediaError
from udfs.core.host_files import boot_id
from udfs.storage import breaker, http_source
from udfs.storage.settings import Params

DATA = b"x" * 5000
IN_A_CHILD = """
import sys
from udfs.core.errors import MediaError
from udfs.storage import http_source
from udfs.storage.settings import Params
try:
    http_source.stat(sys.argv[1], Params(http_private=True, retry_s=float(sys.argv[2]), timeout_s=1.0))
except MediaError as e:
    print(e)
"""


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, disk: Path) -> None:
    """No host is known to be down."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


@pytest.fixture
def nowhere() -> str:
    """The address of a port at which no server listens."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
    return url


def said(url: str, params: Params = ONCE) -> str:
    """Why an address cannot be read."""
    with pytest.raises(MediaError) as e:
        http_source.stat(url, params)
    return str(e.value)


def test_a_thousand_files_of_a_host_that_is_down_cost_seconds(nowhere: str) -> None:
    patient = Params(http_private=True, retry_s=0.5, timeout_s=1.0, requests_per_s=0)
    started = time.monotonic()
    for number in range(1000):
        assert said(f"{nowhere}/{number}.mp4", patient).startswith("UNREACHABLE: ")
    assert time.monotonic() - started < 100  # of the 500 that it would take to be patient with each
    assert said(f"{nowhere}/x.mp4").endswith("does not answer; it is asked once a minute")


def test_all_processes_of_the_machine_know_it(nowhere: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(breaker.FILES):
        said(f"{nowhere}/{number}.mp4")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    asked = subprocess.run(
        [sys.executable, "-c", IN_A_CHILD, f"{nowhere}/v.mp4", "30"], capture_output=True, text=True, timeout=20
    )
    assert asked.stdout == f"UNREACHABLE: {nowhere[7:]} does not answer; it is asked once a minute\n"


def test_a_host_that_answers_again_is_used_again(nowhere: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breaker, "PROBE_S", 0.3)
    for number in range(breaker.FILES + 1):
        said(f"{nowhere}/{number}.mp4")
    with serving({"/v.mp4": Page(DATA)}, port=int(nowhere.rpartition(":")[2])):
        assert "once a minute" in said(f"{nowhere}/v.mp4")
        time.sleep(0.4)
        assert http_source.stat(f"{nowhere}/v.mp4", ONCE).size == 5000
        assert said(f"{nowhere}/gone.mp4") == "NOT_FOUND: status 404"


def test_only_one_request_a_minute_tries_a_host_that_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    pages = {f"/{number}.mp4": Page(DATA, faults=["reset"] * 9) for number in range(20)}
    with serving(pages) as site:
        for name in pages:
            said(f"{site.url}{name}")
        assert len(site.asked) == breaker.FILES
        monkeypatch.setattr(breaker, "PROBE_S", 0.0)
        said(f"{site.url}/5.mp4")


def test_one_slow_file_does_not_stop_the_others() -> None:
    pages = {"/slow.mp4": Page(DATA, faults=["slow headers"] * 9), "/v.mp4": Page(DATA)}
    quick = Params(http_private=True, retry_s=0.0, timeout_s=0.2, http_total_s=0.2)
    with serving(pages) as site:
        for _ in range(breaker.FILES + 1):
            assert said(f"{site.url}/slow.mp4", quick).startswith("UNREACHABLE: the answer took too long")
        assert http_source.stat(f"{site.url}/v.mp4", ONCE).size == 5000


def test_files_that_break_off_are_no_fault_of_a_host_that_answers() -> None:
    cut = {f"/{number}.mp4": Page(DATA, ranges=False, length=None, faults=["cut"] * 9) for number in range(5)}
    with serving(cut | {"/v.mp4": Page(DATA)}) as site:
        for name in cut:
            assert said(f"{site.url}{name}").startswith("UNREACHABLE: IncompleteRead")
        assert http_source.stat(f"{site.url}/v.mp4", ONCE).size == 5000


def test_a_host_that_is_away_for_a_moment_keeps_its_patience() -> None:
    pages = {f"/{number}.mp4": Page(DATA, faults=["reset"]) for number in range(6)}
    with serving(pages) as site:
        patient = Params(http_private=True, retry_s=5.0, timeout_s=1.0)
        assert all(http_source.stat(f"{site.url}{name}", patient).size == 5000 for name in pages)


def test_a_failure_of_long_ago_or_of_another_boot_and_half_a_file_count_for_nothing(
    nowhere: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(breaker.FILES):
        said(f"{nowhere}/{number}.mp4")
    [state] = [*(tmp_path / next(tmp_path.glob("reelmill-hosts-*"))).iterdir()]
    assert "once a minute" in said(f"{nowhere}/v.mp4")
    known = state.read_text()
    for content in ('{"since": 1, "last"', known.replace('"last": ', '"last": -'), known.replace(boot_id(), "other")):
        state.write_text(content)
        assert "once a minute" not in said(f"{nowhere}/v.mp4")
