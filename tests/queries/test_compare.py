"""Two runs of an output and two outputs: clips added, gone, judged and scored otherwise, and why."""

from __future__ import annotations

import json
import shutil
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from deltalake import DeltaTable, write_deltalake

from jobs.config.errors import UsageError
from jobs.queries import compare, duckdb_engine
from jobs.queries.compare import RunEnd
from jobs.queries.duckdb_engine import Engine, Snapshot
from tests.support import s3, small_output
from tests.support.reading import said
from udfs.storage.settings import Params as Sources

OLD_CONF: dict[str, Any] = {"filter": {"motion": False}, "analyze": {"motion": True}, "motion": {"fps": 2.0}}
NEW_CONF: dict[str, Any] = OLD_CONF | {"filter": {"motion": True}, "motion": {"fps": 4.0}}
STAGES = ("split", "clip", "analyze", "filter")


def verdict(clip: str, kept: bool, motion: float | None, *reasons: str, **more: Any) -> dict[str, Any]:
    """A row of verdicts."""
    return {
        "clip_id": clip,
        "video_id": "v1",
        "kept": kept,
        "reasons": [*reasons],
        "motion_score_global_mean": motion,
        "duration_s": 2.0,
        **more,
    }


BEFORE = [
    verdict("same", True, 0.5),
    verdict("dropped", True, 0.0004, similarity=0.2),
    verdict("rescued", False, 0.25, "duplicate"),
    verdict("gone", True, float("nan")),
    verdict("unscored", True, None),
    verdict("nan", True, float("nan")),
]
AFTER = [
    verdict("same", True, 0.5),
    verdict("dropped", False, 0.0005, "motion_global_mean_low", similarity=0.2),
    verdict("rescued", True, 0.25),
    verdict("added", True, 0.75),
    verdict("unscored", True, 0.125),
    verdict("nan", True, float("nan")),
]


def replace(output: Path, name: str, rows: list[dict[str, Any]], fingerprint: str, keep: bool) -> None:
    """Write rows in the place of those of a table, or beside them, in another version of it."""
    folder = output / "tables" / name
    there = DeltaTable(folder).to_pyarrow_table().to_pylist() if keep and folder.exists() else []
    aside = output / "aside"
    small_output.fill(aside, name, [*there, *rows], fingerprint)
    write_deltalake(folder, DeltaTable(aside / "tables" / name).to_pyarrow_table(), mode="overwrite")
    shutil.rmtree(aside)


def runs(run_id: str, conf: dict[str, Any], version: str, **fingerprints: str) -> list[dict[str, Any]]:
    """The rows of `runs` of a run that begins now."""
    now = datetime.now(UTC)
    known = {"run_id": run_id, "started_at": now, "ended_at": now, "conf": json.dumps(conf)}
    versions = {"reelmill": version, "av": "18.1.0"}
    return [
        known | {"stage": stage, "fingerprint": fingerprints.get(stage, stage), "versions": versions}
        for stage in STAGES
    ]


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output after two runs: the second one measured motion in another way, and turned a gate on."""
    output = tmp_path_factory.mktemp("output")
    videos = [{"video_id": "v1", "uri": "/v/a.mp4"}, {"video_id": "v2", "uri": "/v/b.mp4"}]
    small_output.fill(output, "runs", runs("20260501T010000-aaaaaa", OLD_CONF, "0.1.0"), "")
    small_output.fill(output, "videos", videos, "ingest")
    small_output.fill(output, "verdicts", BEFORE, "filter")
    time.sleep(0.05)
    later = runs("20260502T010000-bbbbbb", NEW_CONF, "0.2.0", analyze="other", filter="other")
    time.sleep(0.05)
    replace(output, "runs", later, "", keep=True)
    new = [{"video_id": "v3", "uri": "/v/b.mp4", "run_id": "2"}, {"video_id": "v4", "uri": "/v/c.mp4", "run_id": "2"}]
    replace(output, "videos", new, "ingest", keep=True)
    replace(output, "verdicts", AFTER, "filter", keep=False)
    return output


def compared(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """What `compare` prints as JSON."""
    status, out, err = said(capsys, "compare", "--format", "json", *arguments)
    assert (status, err) == (0, "")
    found: dict[str, Any] = json.loads(out)
    return found


def test_clips_are_counted_by_what_became_of_them(output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = compared(capsys, "-o", str(output))
    assert {name: found[name] for name in ("added", "gone", "now_dropped", "now_kept", "common")} == {
        "added": 1,
        "gone": 1,
        "now_dropped": 1,
        "now_kept": 1,
        "common": 5,
    }
    assert found["now_dropped_by"] == {"motion_global_mean_low": 1}
    assert found["now_kept_despite"] == {"duplicate": 1}
    assert found["examples"] == {
        "added": ["added"],
        "gone": ["gone"],
        "now_dropped": ["dropped"],
        "now_kept": ["rescued"],
    }
    assert (found["before"]["clips"], found["after"]["kept"]) == (6, 5)


def test_scores_that_differ_are_counted(output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A score that both lack, or that is NaN in both, does not differ."""
    found = compared(capsys, "-o", str(output))
    assert found["scores"] == [{"score": "motion_score_global_mean", "clips": 2, "most": pytest.approx(0.0001)}]


def test_what_differs_has_its_settings_code_and_sources(output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = compared(capsys, "-o", str(output))
    changes = {row["stage"]: [it["setting"] for it in row["changed"]] for row in found["settings"]}
    assert changes == {"analyze": ["motion.fps"], "filter": ["filter.motion", "motion.fps"]}
    assert found["code"] == [{"name": "reelmill", "before": "0.1.0", "after": "0.2.0"}]
    assert found["sources"] == {"added": 1, "gone": 0, "replaced": 1}


def test_lines_say_the_same(output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = said(capsys, "compare", "-o", str(output), "20260501", "20260502")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith("  before      run 20260501T010000-aaaaaa of ")
    assert "  now dropped 1 clip (motion_global_mean_low 1)" in lines
    assert "  scored      motion_score_global_mean: 2 clips otherwise, by up to 0.0001" in lines
    assert "  settings    analyze: motion.fps 2, now 4" in lines
    assert "  code        reelmill 0.1.0, now 0.2.0" in lines
    assert "  videos      1 added, 1 replaced, 0 gone" in lines
    assert all(len(line) <= 100 for line in lines)


def test_a_run_compared_with_itself_differs_in_nothing(output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = compared(capsys, "-o", str(output), "20260501", "20260501")
    assert (found["added"], found["gone"], found["scores"], found["settings"]) == (0, 0, [], [])
    _, out, _ = said(capsys, "compare", "-o", str(output), "20260501", "20260501")
    assert "  why         settings, versions and videos are the same" in out


def test_two_outputs_are_compared(output: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = small_output.write(tmp_path)
    found = compared(capsys, "-o", str(output), "--other", str(other))
    assert (found["added"], found["gone"], found["common"]) == (4, 6, 0)
    assert {row["stage"]: row["only"] for row in found["settings"] if row["only"]} == {
        **dict.fromkeys(("embed", "caption", "dedup"), "after"),
    }
    _, out, _ = said(capsys, "compare", "-o", str(output), "--other", str(other))
    assert "no clip is in both: ids are made from the address and content of a video" in out


def test_of_many_clips_the_first_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clips = [verdict(f"c{number}", number % 2 == 0, 0.5) for number in range(9)]
    other = [verdict(f"c{number}", number % 2 == 1, 0.5) for number in (8, 7, 6, 5, 4, 3, 2)]
    for name, rows in (("one", clips), ("two", other)):
        small_output.fill(tmp_path / name, "verdicts", rows, "filter")
    found = compared(capsys, "-o", str(tmp_path / "one"), "--other", str(tmp_path / "two"))
    assert found["examples"] == {
        "added": [],
        "gone": ["c0", "c1"],
        "now_dropped": ["c2", "c4", "c6"],
        "now_kept": ["c3", "c5", "c7"],
    }


def test_clips_are_joined_once_for_all_scores_and_stay_in_the_database(
    output: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str] = []

    def rows(db: duckdb.DuckDBPyConnection, query: str) -> list[dict[str, Any]]:
        asked.append(query)
        found = duckdb_rows(db, query)
        assert len(found) <= 2  # sums, reasons
        return found

    duckdb_rows = duckdb_engine.rows
    monkeypatch.setattr(duckdb_engine, "rows", rows)
    assert compared(capsys, "-o", str(output))["common"] == 5
    assert [query.count("after.verdicts") for query in asked] == [1, 1, 0]


def test_outputs_on_s3_are_compared(
    output: Path, tmp_path: Path, s3_server: s3.Server, capsys: pytest.CaptureFixture[str]
) -> None:
    other = small_output.write(tmp_path)
    for name, folder in (("one", output), ("two", other)):
        for path in folder.rglob("*"):
            if path.is_file():
                s3_server.put(f"s3://compared/{name}/{path.relative_to(folder)}", path)
    settings = (f"--set=sources.s3_endpoint={s3_server.url}", "--set=sources.s3_region=us-east-1")
    there = compared(capsys, *settings, "-o", "s3://compared/one", "--other", "s3://compared/two")
    here = compared(capsys, "-o", str(output), "--other", str(other))
    assert {**there, "before": None, "after": None} == {**here, "before": None, "after": None}
    assert (there["before"]["clips"], there["after"]["clips"]) == (6, 4)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["20260503", "20260502"], "no run begins with 20260503; the last are 20260501T010000-aaaaaa, 2026050"),
        (["2026", "20260502"], "2 runs begin with 2026: 20260501T010000-aaaaaa, 20260502T010000-bbbbbb"),
        (["20260502"], "give two runs, or --other, or neither for the last two runs"),
        (["20260501", "20260502", "--other", "x"], "give two runs, or --other, or neither"),
        (["--schema", "main"], "Spark reads the tables of a catalog (--schema), and compare needs DuckDB"),
    ],
)
def test_wrong_words_are_one_line(
    arguments: list[str], line: str, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = said(capsys, "compare", "-o", str(output), *arguments)
    assert (status, out) == (2, "")
    assert err.startswith(f"reelmill: compare: {line}")
    assert err.count("\n") == 1


def test_a_run_left_the_tables_that_its_last_row_names(tmp_path: Path) -> None:
    """The row `curate` begins with the run; `maintain` adds one as well, and a job by itself none."""
    hours = [small_output.START + timedelta(hours=number) for number in range(8)]
    rows = [
        {"run_id": "1", "stage": "curate", "started_at": hours[0], "ended_at": hours[4], "tables": {"verdicts": 5}},
        {"run_id": "1", "stage": "filter", "started_at": hours[1], "ended_at": hours[2], "tables": {"verdicts": 3}},
        {"run_id": "1", "stage": "caption", "started_at": hours[2], "ended_at": hours[3]},
        {"run_id": "2", "stage": "maintain", "started_at": hours[5], "ended_at": hours[5]},
        {"run_id": "2", "stage": "curate", "started_at": hours[5], "ended_at": hours[5], "tables": {"verdicts": 6}},
        {"run_id": "3", "stage": "filter", "started_at": hours[6], "ended_at": hours[7], "tables": {"verdicts": 7}},
    ]
    small_output.fill(tmp_path, "runs", rows, "")
    found = compare.ends(Snapshot(Engine(str(tmp_path), Sources(), "min")).rows)
    assert [(run.run_id, run.until, run.tables) for run in found] == [
        ("1", hours[6], {"verdicts": 5}),
        ("3", None, None),
    ]


@pytest.mark.parametrize(("number", "line"), [(0, "there is none here"), (1, "there is one here")])
def test_it_takes_two_runs(number: int, line: str) -> None:
    every = [RunEnd(f"{i}", "2026-05-01T00:00:00Z", None, None) for i in range(number)]
    with pytest.raises(UsageError, match=line):
        compare.chosen(every, [])


def test_an_empty_output_has_no_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "tables").mkdir()
    assert said(capsys, "compare", "-o", str(tmp_path))[0] == 2


def test_versions_that_were_cleaned_up_are_one_line(
    output: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = Path(shutil.copytree(output, tmp_path / "output"))
    now = set(DeltaTable(copy / "tables/verdicts").file_uris())
    for file in (copy / "tables/verdicts").glob("*.parquet"):
        if not any(uri.endswith(file.name) for uri in now):
            file.unlink()
    status, out, err = said(capsys, "compare", "-o", str(copy))
    assert (status, out) == (1, "")
    assert err == "reelmill: table verdicts: files of that version are gone: `maintain` keeps them for a while\n"
