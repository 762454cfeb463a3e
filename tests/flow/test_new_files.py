"""new_files: how many files of a manifest a run would probe, as the job itself finds them by Spark."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jobs.config.settings import Settings
from jobs.flow import manifest, new_files
from jobs.lake.fingerprints import fingerprint
from jobs.queries.duckdb_engine import Engine, Snapshot
from tests.support import small_output
from udfs.storage import access


def num_new(folder: Path, output: Path, retry: tuple[str, ...] | None = None) -> int:
    """The number of files that are to be probed."""
    settings = Settings()
    examined = manifest.check(str(folder), settings.sources)
    rows = Snapshot(Engine(str(output), settings.sources, "min")).rows
    return new_files.number(examined, str(output), settings, rows, since=None, limit=None, retry=retry)


def test_the_last_failure_of_a_file_says_whether_it_is_tried_again(tmp_path: Path) -> None:
    folder, output = tmp_path / "in", tmp_path / "output"
    folder.mkdir()
    codes: dict[str, list[str]] = {
        "new.mp4": [],
        "slow.mp4": ["TIMEOUT", "UNREACHABLE"],
        "grown.mp4": ["OOM", "TIMEOUT"],
    }
    failures: list[dict[str, Any]] = []
    for name, found in codes.items():
        (folder / name).write_bytes(b"x")
        made_by = f"{fingerprint('ingest', Settings())}-{access.version(str(folder / name))}"
        facts = {"key": str(folder / name), "stage": "ingest", "fingerprint": made_by}
        failures += [facts | {"code": code, "run_id": f"r{number}"} for number, code in enumerate(found)]
    small_output.fill(output, "failures", failures, "")
    assert num_new(folder, output) == 2
    assert num_new(folder, output, ("TIMEOUT",)) == 3
    assert num_new(folder, output, ("OOM",)) == 2
    assert num_new(folder, output, ()) == 3
