"""What `runs` says of earlier runs: whether anything is left is known from versions of tables alone."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs import cli
from jobs.config.settings import load
from jobs.lake import last_run
from jobs.lake.declared import struct_type
from jobs.lake.fingerprints import fingerprint
from jobs.lake.last_run import CHAIN, LastRun
from jobs.lake.tables import Tables
from schemas import TABLES
from tests.support import two_settings
from tests.support.outputs import table

pytestmark = pytest.mark.spark


@pytest.fixture
def tables(spark: SparkSession, tmp_path: Path) -> Tables:
    """The tables of an output that has none yet."""
    return Tables(spark, str(tmp_path / "tables"))


def note(
    tables: Tables,
    stage: str,
    day: int,
    fingerprint: str,
    versions: dict[str, int] | None = None,
    scored_by: str | None = None,
) -> None:
    """A row of `runs` of that day."""
    values = {"stage": stage, "fingerprint": fingerprint, "run_id": f"run {day}", "tables": versions} | {
        "started_at": datetime(2026, 1, day, tzinfo=UTC),
        "ended_at": datetime(2026, 1, day, 1, tzinfo=UTC),
        "scored_by": scored_by,
    }
    types = struct_type(TABLES["runs"].schema)
    tables.add("runs", tables.spark.createDataFrame([tuple(values.get(name) for name in types.names)], types))


def write(tables: Tables) -> None:
    """A commit to a table."""
    types = struct_type(TABLES["failures"].schema)
    row = ("/a.mp4", "ingest", "EMPTY", None, 1, None, "f", "r")
    tables.add("failures", tables.spark.createDataFrame([row], types))


def test_where_no_table_is_nothing_is_left(tables: Tables) -> None:
    assert last_run.read(tables) == LastRun()
    assert LastRun().left_nothing(tables, "any settings")


def test_tables_without_a_finished_run_may_have_work_left(tables: Tables) -> None:
    write(tables)
    assert not last_run.read(tables).left_nothing(tables, "f")


def test_a_finished_run_counts_until_a_table_or_the_settings_change(tables: Tables) -> None:
    write(tables)
    note(tables, CHAIN, 1, "f", last_run.versions(tables), "s")
    last = last_run.read(tables)
    assert last.left_nothing(tables, "f")
    assert not last.left_nothing(tables, "other settings")
    assert last.is_untouched(tables)
    write(tables)
    assert not last.left_nothing(tables, "f")
    assert not last.is_untouched(tables)


def test_tables_that_are_named_may_have_changed(tables: Tables) -> None:
    """One that was made since as well."""
    note(tables, CHAIN, 1, "f", {}, "s")
    write(tables)
    last = last_run.read(tables)
    assert last.is_untouched(tables, but=("failures", "labels"))
    assert not last.is_untouched(tables, but=("labels",))


def test_a_finished_run_that_left_verdicts_without_scores_has_work_left(tables: Tables) -> None:
    write(tables)
    note(tables, CHAIN, 1, "f", last_run.versions(tables))
    assert not last_run.read(tables).left_nothing(tables, "f")


def test_scores_are_those_of_the_last_row_that_names_any(tables: Tables) -> None:
    note(tables, "filter", 2, "f", {"clips": 7}, "new")
    note(tables, CHAIN, 1, "f", {"clips": 1}, "old")
    note(tables, "split", 3, "s")
    assert last_run.read(tables).scored == ("new", {"clips": 7})


def test_the_last_row_of_each_stage_counts(tables: Tables) -> None:
    note(tables, CHAIN, 2, "new", {"failures": 7})
    note(tables, CHAIN, 1, "old", {"failures": 1})
    note(tables, "split", 1, "s")
    note(tables, "clip", 3, "after the chain")
    last = last_run.read(tables)
    assert last.settled == {CHAIN: "new", "split": "s"}
    assert (last.fingerprints, last.versions) == (last.settled | {"clip": "after the chain"}, {"failures": 7})


def test_the_version_of_a_table_is_that_of_its_last_commit(tables: Tables) -> None:
    assert tables.version("failures") is None
    write(tables)
    before = tables.version("failures")
    write(tables)
    assert before is not None
    assert tables.version("failures") == before + 1 == tables.versions()["failures"]


@pytest.mark.nights
def test_a_clock_set_back_makes_no_older_run_the_last(
    spark: SparkSession, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    output = two_settings.write(tmp_path / "output")
    later = datetime(2099, 1, 1, tzinfo=UTC)
    row = {"stage": "filter", "fingerprint": "of a fast clock", "run_id": "20990101T000000-ffffff"}
    two_settings.add(output, "runs", [row | {"started_at": later, "ended_at": later}])
    before = last_run.read(Tables(spark, f"{output}/tables"))
    assert (before.fingerprints["filter"], before.until) == ("of a fast clock", later)
    assert cli.main(["filter", "--output", str(output)]) == 0
    assert "behind the last run of this output" in caplog.text
    after = last_run.read(Tables(spark, f"{output}/tables"))
    assert after.fingerprints["filter"] == fingerprint("filter", load([], []))
    assert max(row["run_id"] for row in table(output, "runs") if row["run_id"][0] == "2") > row["run_id"]
    assert all(row["ended_at"] >= row["started_at"] for row in table(output, "runs") if row["ended_at"])
