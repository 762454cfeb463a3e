"""Status: by whose settings work is pending, a run at rest, one at work, one that was stopped, and its text."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

from jobs.lake import progress_file
from jobs.queries import delta_source, status
from jobs.queries.duckdb_engine import Engine, Snapshot
from jobs.queries.pending import InForce
from jobs.queries.reader import Reader
from tests.support import small_output
from udfs.storage.settings import Params as Sources

FINGERPRINTS = {stage: stage for stage in small_output.STAGES}
LATER = small_output.START + timedelta(hours=1)
STAGE = {"stage": "clip", "total": 10, "done": 4, "failed": 1, "seconds": 2.0, "at_work": True}


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """An output of literal rows, of which some stages have inputs left."""
    return small_output.write(tmp_path)


def summary(output: Path, given: InForce | None = None, **more: Any) -> dict[str, Any]:
    """The status of an output."""
    rows = Snapshot(Engine(str(output), Sources(), "min")).rows
    versions = delta_source.versions(str(output), Sources())
    return status.summary(Reader(str(output), "out", Sources(), "min", rows), given, versions, **more)


def lines(output: Path, found: dict[str, Any], width: int = 100) -> list[str]:
    """The status as text."""
    rows = Snapshot(Engine(str(output), Sources(), "min")).rows
    return [*status.lines(Reader(str(output), "out", Sources(), "min", rows), found, width)]


def pending(found: dict[str, Any]) -> dict[str, int]:
    """The inputs that are pending, by stage."""
    return {row["stage"]: row["inputs"] for row in found["stages"] if row["inputs"]}


def note_rest(output: Path, ended: datetime = LATER, **more: Any) -> None:
    """Add the row of a run that left nothing to do."""
    rows = DeltaTable(output / "tables/runs").to_pyarrow_table().to_pylist()
    shutil.rmtree(output / "tables/runs")
    versions = delta_source.versions(str(output), Sources())
    rest = {"stage": "curate", "run_id": "1", "started_at": ended, "ended_at": ended, "tables": versions, "conf": "{}"}
    small_output.fill(output, "runs", [*rows, rest | more], "")


def write_progress(output: Path, **more: Any) -> None:
    """Write the progress file of a run of this process."""
    known: dict[str, Any] = {
        "run_id": "9",
        "job": "curate",
        "started_at": LATER.isoformat(),
        "updated_at": progress_file.now_text(),
    }
    known |= {"waves": [1, 3], "stages": [STAGE], "fingerprints": FINGERPRINTS, "settings": {}, "every_s": 2.0}
    progress_file.write(str(output), Sources(), known | progress_file.process() | more)


def test_the_last_settings_count(output: Path) -> None:
    found = summary(output)
    assert found["by"] == "the settings of the last run"
    assert pending(found) == {"analyze": 1, "copies": 3, "embed": 1, "dedup": 4}
    held = found["library"]
    assert (held["videos"], held["clips"], held["kept"], held["kept_s"]) == (2, 4, 2, 10.75)
    assert held["media_s"] == 30.0 + 12.5  # without the video that was replaced


def test_settings_that_are_given_count_instead(output: Path) -> None:
    force = InForce(FINGERPRINTS | {"clip": "other", "filter": "other", "dedup": "other"}, {})
    found = summary(output, force)
    assert pending(found)["clip"] == 4
    assert found["new_settings"] == ["filter", "dedup"]
    assert "  filter has other settings now: every clip is judged again, without decoding" in lines(output, found)


def test_at_rest_nothing_is_looked_at(output: Path) -> None:
    note_rest(output)
    assert pending(summary(output)) == {}
    assert "nothing is pending by the settings of the last run" in lines(output, summary(output))


def test_a_label_gives_no_stage_anything_to_do(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    note_rest(output)
    small_output.fill(output, "labels", [{"clip_id": "c1", "label": "good", "who": "ann"}], "")
    monkeypatch.setattr(status, "pending", lambda *_: pytest.fail("tables are looked at"))
    assert pending(summary(output)) == {}


def test_since_the_rest_only_new_rows_are_pending(output: Path) -> None:
    note_rest(output)
    new = {"video_id": "v3", "uri": "/v/new.mp4", "duration_s": 8.0, "run_id": "2"}
    shutil.rmtree(output / "tables/videos")
    small_output.fill(output, "videos", [*small_output.VIDEOS, new], "ingest")
    small_output.fill(output, "takedowns", [], "")  # so that a table has another version
    assert pending(summary(output)) == {"split": 1}


@pytest.mark.parametrize(
    "later",
    [
        {"stage": "takedown", "fingerprint": "takedown"},
        {"stage": "clip", "fingerprint": "clip"},  # a job ran by itself
    ],
)
def test_after_other_jobs_whole_tables_are_looked_at(later: dict[str, str], output: Path) -> None:
    note_rest(output)
    rows = DeltaTable(output / "tables/runs").to_pyarrow_table().to_pylist()
    shutil.rmtree(output / "tables/runs")
    after = {"started_at": LATER + timedelta(hours=1), "ended_at": LATER + timedelta(hours=1), "conf": "{}"}
    small_output.fill(output, "runs", [*rows, after | later], "")
    assert pending(summary(output)) == {"analyze": 1, "copies": 3, "embed": 1, "dedup": 4}


@pytest.mark.parametrize(
    ("by_hand", "embed"),
    [(["takedown"], 0), (["maintain", "curate"], 0), (["dedup"], 0), (["filter"], 1)],
)
def test_jobs_by_hand_do_not_change_the_settings_of_the_chain(by_hand: list[str], embed: int, output: Path) -> None:
    """They had no conf file; only what they say of themselves counts, as the gates of `filter`."""
    chain = {"curate": {"caption": True}, "filter": {"motion": True, "unscored": "drop"}}
    rows = DeltaTable(output / "tables/runs").to_pyarrow_table().to_pylist()
    shutil.rmtree(output / "tables/runs")
    rows = [row | {"conf": json.dumps(chain)} for row in rows]
    later = {"run_id": "2", "started_at": LATER, "ended_at": LATER, "conf": "{}"}
    small_output.fill(output, "runs", [*rows, *(later | {"stage": job, "fingerprint": job} for job in by_hand)], "")
    found = summary(output)
    assert [row["stage"] for row in found["stages"]][-1] == "caption"
    assert pending(found).get("embed", 0) == embed


def test_a_run_at_work_says_how_far_it_is(output: Path) -> None:
    write_progress(output)
    found = summary(output)
    assert (found["run"]["at_work"], found["by"]) == (True, "the settings of that run")
    assert found["run"]["stages"][0] | {"rate": 2.0, "left_s": 3.0} == found["run"]["stages"][0]
    shown = lines(output, found)
    assert "a run is at work: curate since 2026-05-01 13:30 UTC, wave 1 of 3" in " ".join(shown)
    assert "  clip   4 of 10  2.00/s   3 s       1" in shown


def test_a_run_that_was_killed_does_not_look_alive(output: Path) -> None:
    write_progress(output, pid_started="1")
    found = summary(output)
    assert not found["run"]["at_work"]
    assert "the last run, curate since 2026-05-01 13:30 UTC, was stopped: the same command goes on from here" in lines(
        output, found
    )


def test_a_first_run_that_was_killed_leaves_its_settings(tmp_path: Path) -> None:
    """It may have noted nothing in `runs`."""
    output = small_output.write(tmp_path)
    shutil.rmtree(output / "tables/runs")
    assert pending(summary(output))["split"] == 2  # no row is by the settings of the last run: there are none
    write_progress(output, pid_started="1", settings={"filter": {"duplicates": False}})
    assert pending(summary(output)) == {"analyze": 1, "embed": 1, "dedup": 4}


def test_a_run_that_ended_well_leaves_the_settings_of_each_stage(output: Path) -> None:
    write_progress(output, outcome="done", ended_at=LATER.isoformat(), fingerprints={"copies": "copies"})
    found = summary(output)
    assert found["by"] == "the settings of the last run"
    assert "the last run, curate since 2026-05-01 13:30 UTC, done" in lines(output, found)


def test_new_files_are_part_of_a_plan(output: Path) -> None:
    found = summary(output, new_files=3)
    assert found["new_media_s"] == pytest.approx(3 * (30.0 + 12.5) / 2)
    assert next(status.plan_lines(found, 100)) == "3 new files to ingest, about 64 s of video"
    assert not any("--plan" in line for line in lines(output, found))
    assert any(line.endswith("curate MANIFEST -o out --plan") for line in lines(output, summary(output)))


def test_an_empty_output_has_a_status(tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    assert lines(tmp_path, summary(tmp_path))[:2] == [
        "out: 0 videos, 0 clips, 0 kept (0 s kept of 0 s)",
        "nothing is pending by the settings of the last run",
    ]


@pytest.mark.parametrize("width", [40, 100])
def test_lines_fit(width: int, output: Path) -> None:
    write_progress(output)
    shown = [line for line in lines(output, summary(output), width) if "--plan" not in line]
    assert [line for line in shown if len(line) > width] == []


def test_it_is_values_of_json(output: Path) -> None:
    write_progress(output)
    assert json.loads(json.dumps(summary(output)))["run"]["pid"] > 0
    assert datetime.fromisoformat(summary(output)["last_ended_at"]) == small_output.START.astimezone(UTC)


def test_at_rest_what_waits_is_pending(output: Path) -> None:
    """Of what failed in the run that noted the rest only what may pass, and only with the settings in force."""
    failed = {"run_id": "1", "code": "UNREACHABLE", "fingerprint": "analyze", "stage": "analyze"}
    others = [
        {"key": "c2", "stage": "embed", "code": "CORRUPT", "fingerprint": "embed"},
        {"key": "c9", "stage": "clip"},
    ]
    shutil.rmtree(output / "tables/failures")
    rows = [*small_output.FAILURES, failed | {"key": "c4"}, *(failed | other for other in others)]
    small_output.fill(output, "failures", rows, "")
    note_rest(output)
    assert pending(summary(output)) == {}
    note_rest(output, LATER + timedelta(hours=1), waiting_run_id="1")
    assert pending(summary(output))["analyze"] == 1
