"""Faults of machines, from the command line: kills between commits, full disks, other programs at the tables."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession

import reelmill
from jobs import cli
from tests.support import chaos, outputs
from tests.support.footage import write_numbered
from tests.support.outputs import CURATED, table

pytestmark = pytest.mark.kill
ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 300.0
SECRETS = {"spark.hadoop.fs.s3a.secret.key": "5ecretkey0fs3a", "spark.my.token": "t0ken0fmine"}


OPTIONS = ["--set", "split.clip_len_s=2"]


class Alone(NamedTuple):
    """What a run made that met no fault."""

    tables: dict[str, list[str]]
    files: dict[str, str]


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two videos, of two clips each."""
    folder = tmp_path_factory.mktemp("videos")
    for i in range(2):
        write_numbered(folder / f"{i}.mp4", 120, first=200 * i)
    return folder


@pytest.fixture(scope="module")
def alone(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Alone:
    folder = tmp_path_factory.mktemp("alone")
    run = chaos.start([str(videos), *OPTIONS, "-o", str(folder / "output")], folder / "log")
    assert run.ended() == 0, run.told
    return Alone(outputs.tables(folder / "output"), outputs.files(folder / "output"))


@pytest.mark.parametrize("killed_after", ["clips", "verdicts"])
def test_35_a_run_killed_between_the_commits_of_rows_and_of_runs_converges(
    videos: Path, alone: Alone, tmp_path: Path, killed_after: str
) -> None:
    arguments = [str(videos), *OPTIONS, "-o", str(tmp_path / "output")]
    run = chaos.start(arguments, tmp_path / "log", 1, killed_after)
    assert run.ended() == -signal.SIGKILL, run.told
    assert table(tmp_path / "output", killed_after)
    assert not [row for row in table(tmp_path / "output", "runs") if row["stage"] in (killed_after, "curate")]
    again = chaos.start(arguments, tmp_path / "log")
    assert again.ended() == 0, again.told
    assert outputs.tables(tmp_path / "output") == alone.tables
    assert outputs.files(tmp_path / "output") == alone.files
    check = chaos.start([*arguments, "--check"], tmp_path / "log")
    assert check.ended() == 0, check.told


def test_41_what_a_killed_run_spilled_goes_with_the_next_run(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    arguments = [str(videos), *OPTIONS, "-o", str(tmp_path / "output")]
    run = chaos.start(arguments, tmp_path / "log", 1, "videos")
    assert run.ended() == -signal.SIGKILL, run.told
    spilled = [path.name for path in scratch.rglob("blockmgr-*/*/*")]
    assert spilled  # and not in /tmp
    again = chaos.start([*arguments, "--limit", "1"], tmp_path / "log")
    assert again.ended() == 0, again.told
    assert not [path for path in scratch.rglob("*") if path.name in spilled]
    assert len([*scratch.glob("reelmill-spark-*/*/")]) <= 1  # of the run that has just ended


# A shell that mounts a small file system of its own, which ends with it, on a folder.
MOUNTED = 'mount -t tmpfs -o size="$1",mode=700 tmpfs "$0" && shift && exec "$@"'


def test_41_a_full_temporary_directory_is_one_line(videos: Path, tmp_path: Path) -> None:
    place = tmp_path / "tmp"
    place.mkdir()
    prefix = ["unshare", "-rm", "sh", "-c", MOUNTED, str(place), "200k"]
    if not shutil.which("unshare") or subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no file system may be mounted here")
    command = [*prefix, sys.executable, "-m", "jobs", "curate", str(videos), "-o", str(tmp_path / "output")]
    run = subprocess.run(
        command,
        env=os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(place)},
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert run.returncode == 1, run.stderr
    assert "No space left on device" in run.stderr.splitlines()[-1]
    assert "Traceback" not in run.stderr


def test_a_run_in_the_locale_of_cron_writes_where_it_is_told(videos: Path, tmp_path: Path) -> None:
    output = tmp_path / "übung 映像"
    command = [sys.executable, "-m", "jobs", "ingest", str(videos), "-o", str(output)]
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG"))}
    run = subprocess.run(
        command,
        env=variables | {"LC_ALL": "C", "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert run.returncode == 0, run.stderr
    assert [path.name for path in tmp_path.iterdir()] == [output.name]
    assert len(table(output, "videos")) == 2


def test_57_sparks_own_page_shows_no_secrets(videos: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    settings = SECRETS | {"spark.ui.enabled": "true", "spark.ui.port": str(port)}
    (tmp_path / "spark.toml").write_text(
        "[spark]\n" + "".join(f"{json.dumps(key)} = {json.dumps(value)}\n" for key, value in settings.items())
    )
    arguments = [str(videos), "-o", str(tmp_path / "output"), "--conf", str(tmp_path / "spark.toml")]
    run = chaos.start(arguments, tmp_path / "log")
    pages: dict[str, str] = {}
    end = time.monotonic() + PATIENCE_S
    while run.process.poll() is None and len(pages) < 2 and time.monotonic() < end:
        with suppress(OSError, ValueError, IndexError):
            address = f"http://127.0.0.1:{port}"
            [application] = json.loads(_page(f"{address}/api/v1/applications"))
            pages["as JSON"] = _page(f"{address}/api/v1/applications/{application['id']}/environment")
            pages["as HTML"] = _page(f"{address}/environment/")
        time.sleep(0.2)
    chaos.kill(run, "machine")
    run.ended()
    assert pages.keys() == {"as JSON", "as HTML"}
    for page in pages.values():
        assert all(key in page for key in SECRETS)
        assert not any(value in page for value in SECRETS.values())
    assert not any(value in run.told for value in SECRETS.values())


def _page(address: str) -> str:
    with urllib.request.urlopen(address, timeout=5) as answer:
        return str(answer.read().decode())


@contextmanager
def at_work(step: Any) -> Iterator[list[Any]]:
    """Another program, which does a step again and again while the block runs; what each step gave."""
    given, ends = list[Any](), threading.Event()

    def work() -> None:
        while not ends.is_set():
            given.append(step())
            time.sleep(0.05)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield given
    finally:
        ends.set()
        thread.join()


@pytest.mark.spark
def test_45_another_program_that_commits_to_the_tables_doubles_and_loses_no_row(
    spark: SparkSession, videos: Path, tmp_path: Path
) -> None:
    own, output = Path(shutil.copytree(videos, tmp_path / "videos")), tmp_path / "output"
    ingest = ["ingest", str(own), "-o", str(output)]
    assert cli.main(ingest) == 0
    before = DeltaTable(output / "tables" / "videos").version()
    for i in range(2):
        write_numbered(own / f"later-{i}.mp4", 60, first=1000 * (i + 1))

    def rewrite() -> int:
        """Rewrite the files of a table, as OPTIMIZE of a catalog's own maintenance does."""
        with suppress(Exception):  # the run may win
            DeltaTable(output / "tables" / "videos").optimize.z_order(["run_id"])
        return 1

    with at_work(rewrite):
        assert cli.main(ingest) in (0, 1)  # 1, in one line, if the other program is always faster
    assert DeltaTable(output / "tables" / "videos").version() > before + 1
    assert cli.main(ingest) == 0
    uris = [row["uri"] for row in table(output, "videos")]
    assert len(uris) == len({*uris}) == 4


@pytest.mark.spark
def test_50_who_reads_while_old_files_are_deleted_gets_all_rows_or_one_line(
    spark: SparkSession, curated: Path, tmp_path: Path
) -> None:
    output = Path(shutil.copytree(curated, tmp_path / "output"))
    settings = [f"--set={option}" for option in CURATED]
    for score in ("0.1", "0.2"):  # versions whose files go
        assert cli.main(["filter", "-o", str(output), *settings, f"--set=filter.blur_threshold={score}"]) == 0
    opened = reelmill.open(output)
    before = len(opened.sql("select * from clips").pandas())

    def count() -> str:
        command = [sys.executable, "-m", "jobs", "sql", "-o", str(output), "--format", "csv"]
        query = "select count(*) as n from clips join verdicts using (clip_id)"
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        run = subprocess.run([*command, query], capture_output=True, text=True, env=environment, check=False)
        return run.stdout or run.stderr

    with at_work(count) as said:
        assert cli.main(["maintain", "-o", str(output), *settings, "--keep-days", "0", "--force"]) == 0
    assert said
    for answer in said:
        is_line = answer.startswith("reelmill: ") and answer.count("\n") == 1
        assert answer == f"n\n{before}\n" or is_line, answer
    assert len(opened.sql("select * from clips").pandas()) == before
