"""Delta tables: each row is written once, and only rows that differ change."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from deltalake import DeltaTable
from pyspark.sql import DataFrame, SparkSession

from jobs.lake.declared import struct_type
from jobs.lake.tables import Tables
from schemas import TABLES

pytestmark = pytest.mark.spark


@pytest.fixture
def tables(spark: SparkSession, tmp_path: Path) -> Tables:
    return Tables(spark, str(tmp_path))


def verdicts(tables: Tables, *rows: tuple[str, bool], run_id: str = "first", fingerprint: str = "f") -> DataFrame:
    """Verdicts on these clips."""
    made = {"video_id": "v", "fingerprint": fingerprint, "run_id": run_id}
    values = [made | {"clip_id": clip, "kept": kept, "reasons": [] if kept else ["black"]} for clip, kept in rows]
    return tables.spark.createDataFrame(values, struct_type(TABLES["verdicts"].schema))


def held(tables: Tables) -> set[tuple[str, bool, str]]:
    """What the table holds: clip, kept, run."""
    return {(r["clip_id"], r["kept"], r["run_id"]) for r in tables.read("verdicts").collect()}


def test_a_table_never_written_has_its_columns_and_no_rows(tables: Tables) -> None:
    assert tables.read("clips").columns == TABLES["clips"].schema.names
    assert tables.read("clips").isEmpty()


def test_a_row_is_added_once(tables: Tables) -> None:
    assert tables.append("verdicts", verdicts(tables, ("a", True))) == 1
    assert tables.append("verdicts", verdicts(tables, ("a", True), ("b", True), run_id="second")) == 1
    assert held(tables) == {("a", True, "first"), ("b", True, "second")}


def test_the_same_key_by_other_settings_is_another_row(tables: Tables) -> None:
    tables.append("verdicts", verdicts(tables, ("a", True)))
    assert tables.append("verdicts", verdicts(tables, ("a", True), fingerprint="g")) == 1


def test_twice_in_one_batch_is_once_in_the_table(tables: Tables) -> None:
    assert tables.append("verdicts", verdicts(tables, ("a", True), ("a", True))) == 1


def test_upsert_lets_the_newest_row_of_a_key_win(tables: Tables) -> None:
    tables.append("verdicts", verdicts(tables, ("a", True)))
    assert tables.upsert("verdicts", verdicts(tables, ("a", False), run_id="second", fingerprint="g"), 1) == (1, 1)
    assert held(tables) == {("a", False, "second")}


@pytest.mark.parametrize("is_only_writer", [True, False])
def test_what_is_known_to_be_new_is_there_once(spark: SparkSession, tmp_path: Path, is_only_writer: bool) -> None:
    tables = Tables(spark, str(tmp_path), is_only_writer=is_only_writer)
    assert tables.upsert("verdicts", verdicts(tables, ("a", True)), 1) == (1, 0)
    assert tables.insert("verdicts", verdicts(tables, ("b", True)), 1) == 1
    assert tables.insert("verdicts", verdicts(tables, ("b", True)), 1) == (1 if is_only_writer else 0)
    assert tables.upsert("verdicts", verdicts(tables, ("a", False), run_id="second"), 1) == (1, 1)
    operations = [commit["operation"] for commit in DeltaTable(tables.path("verdicts")).history()]
    assert operations.count("MERGE") == (1 if is_only_writer else 3)  # a merge of nothing is no commit


def test_two_writers_at_once_add_each_row_once(tables: Tables) -> None:
    tables.append("verdicts", verdicts(tables, ("a", True)))
    batch = verdicts(tables, *((f"clip{i}", True) for i in range(20))).cache()
    with ThreadPoolExecutor(3) as pool:
        added = list(pool.map(lambda _: tables.append("verdicts", batch), range(3)))
    assert sum(added) == 20
    assert tables.read("verdicts").count() == 21


@pytest.mark.parametrize("left", ["_staged_commits/none", ".00000000000000000000.json.ab.tmp"])
def test_a_table_whose_making_was_cut_off_is_made_again(spark: SparkSession, tmp_path: Path, left: str) -> None:
    tables = Tables(spark, str(tmp_path), is_only_writer=True)
    path = Path(tables.path("verdicts"), "_delta_log", left)
    path.parent.mkdir(parents=True)
    path.touch()
    assert not tables.exists("verdicts")
    tables.upsert("verdicts", verdicts(tables, ("a", True)), 1)
    assert held(tables) == {("a", True, "first")}


def test_an_unchanged_state_is_not_written(tables: Tables) -> None:
    tables.change("verdicts", verdicts(tables, ("a", True), ("b", True)))
    before = DeltaTable(tables.path("verdicts")).version()
    assert tables.change("verdicts", verdicts(tables, ("b", True), ("a", True), run_id="second")) == 0
    assert DeltaTable(tables.path("verdicts")).version() == before


def test_a_changed_state_touches_only_what_differs(tables: Tables) -> None:
    tables.change("verdicts", verdicts(tables, ("a", True), ("b", True), ("c", True)))
    assert tables.change("verdicts", verdicts(tables, ("a", True), ("b", False), ("d", True), run_id="second")) == 3
    assert held(tables) == {("a", True, "first"), ("b", False, "second"), ("d", True, "second")}


def test_a_changed_state_leaves_what_another_run_has_added_or_changed_since(tables: Tables) -> None:
    tables.change("verdicts", verdicts(tables, ("a", True), ("b", True), ("c", True)))
    before = tables.read("verdicts").select("clip_id", "run_id").localCheckpoint()
    tables.upsert("verdicts", verdicts(tables, ("c", False), ("d", True), run_id="other"), 2)
    assert tables.change("verdicts", verdicts(tables, ("a", False), run_id="second"), before) == 2
    assert held(tables) == {("a", False, "second"), ("c", False, "other"), ("d", True, "other")}


def test_replace_leaves_nothing_of_before(tables: Tables) -> None:
    tables.replace("verdicts", verdicts(tables, ("a", True)))
    tables.replace("verdicts", verdicts(tables, ("b", True)))
    assert held(tables) == {("b", True, "first")}


def test_a_path_is_a_path_whatever_is_in_it(spark: SparkSession, tmp_path: Path) -> None:
    tables = Tables(spark, str(tmp_path / "o'clock `now` 50%"))
    assert tables.append("verdicts", verdicts(tables, ("a", True))) == 1
    assert held(tables) == {("a", True, "first")}
