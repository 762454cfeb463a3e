"""The progress file: whole, read by other processes, and a run that was killed does not look alive."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from jobs.lake import progress_file
from tests.support import s3
from udfs.storage.settings import Params as Sources

NOW = datetime(2026, 5, 1, 12, 30, tzinfo=UTC)
# A process that writes the file, says so, and waits to be killed.
WRITER = """
import sys, time
from jobs.lake import progress_file
from udfs.storage.settings import Params
known = {"run_id": "r", "job": "curate", "stages": [], "updated_at": progress_file.now_text(), "every_s": 2.0}
progress_file.write(sys.argv[1], Params(), known | progress_file.process())
print("written", flush=True)
time.sleep(600)
"""


def progress(**more: Any) -> dict[str, Any]:
    """What a run said at NOW."""
    return {"run_id": "r", "job": "curate", "stages": [], "updated_at": NOW.isoformat(), "every_s": 2.0, **more}


def test_what_was_written_is_read_and_nothing_else_is_left(tmp_path: Path) -> None:
    for number in (1, 2):
        assert progress_file.write(str(tmp_path), Sources(), progress(number=number))
    assert progress_file.read(str(tmp_path), Sources()) == progress(number=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".progress.json", "media"]
    assert [*(tmp_path / "media/.writing").iterdir()] == []


@pytest.mark.parametrize("text", ["", "{", "[]", "1", '{"of": "another release"}', "\x00\xff"])
def test_a_file_that_is_no_progress_is_none(text: str, tmp_path: Path) -> None:
    (tmp_path / progress_file.NAME).write_text(text, encoding="latin-1")
    assert progress_file.read(str(tmp_path), Sources()) is None
    assert progress_file.read(str(tmp_path / "none"), Sources()) is None


def test_an_output_that_cannot_be_written_to_ends_no_run(tmp_path: Path) -> None:
    (tmp_path / "media").write_text("a file in the place of a folder")
    assert not progress_file.write(str(tmp_path), Sources(), progress())


def test_a_run_is_at_work_until_its_process_is_gone(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "written\n"
        found = progress_file.read(str(tmp_path), Sources())
        assert found is not None
        late = datetime.now(UTC) + timedelta(hours=1)  # a process may be busy for long
        assert progress_file.is_at_work(found, late)
        run.send_signal(signal.SIGKILL)
        run.wait()
        assert not progress_file.is_at_work(found, datetime.now(UTC))


def test_another_process_of_the_same_number_is_not_the_run() -> None:
    own = progress_file.process()
    assert progress_file.is_at_work(progress(**own), NOW)
    assert not progress_file.is_at_work(progress(**own | {"pid_started": "1"}), NOW)
    assert not progress_file.is_at_work(progress(**own | {"pid": 1 << 22 | 1}), NOW)


@pytest.mark.parametrize(("later_s", "alive"), [(0, True), (11, True), (13, False), (86_400, False)])
def test_a_run_on_another_host_is_at_work_while_it_is_heard_of(later_s: int, alive: bool) -> None:
    elsewhere = progress(host="another host", pid=1, pid_started="1")
    assert progress_file.is_at_work(elsewhere, NOW + timedelta(seconds=later_s)) == alive


def test_a_run_that_has_ended_is_not_at_work() -> None:
    assert not progress_file.is_at_work(progress(**progress_file.process(), ended_at=NOW.isoformat()), NOW)


def test_a_store_has_the_file_too(s3_server: s3.Server) -> None:
    sources = Sources(s3_endpoint=s3_server.url, s3_region="us-east-1")
    output = "s3://progress/out"
    s3_server.put(f"{output}/tables/x", Path(__file__))  # makes the bucket
    assert progress_file.read(output, sources) is None
    assert progress_file.write(output, sources, progress())
    assert progress_file.read(output, sources) == json.loads(json.dumps(progress()))
    assert progress_file.every_s(output) > progress_file.every_s("/local")
