"""tables: a row gets in once, a state is changed only where it differs, and every reader can read it."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from pyspark.sql import DataFrame, SparkSession

from jobs.tables import Tables, struct_type
from schemas import TABLES

pytestmark = pytest.mark.spark


@pytest.fixture
def tables(spark: SparkSession, tmp_path: Path) -> Tables:
    return Tables(spark, str(tmp_path))


def verdicts(tables: Tables, *rows: tuple[str, bool], run_id: str = "first", fingerprint: str = "f") -> DataFrame:
    """Verdicts on these clips."""
    values = [(clip, "v", kept, [] if kept else ["black"], None, fingerprint, run_id) for clip, kept in rows]
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
    tables.append("verdicts", verdicts(tables, ("a", False), run_id="second", fingerprint="g"), upsert=True)
    assert held(tables) == {("a", False, "second")}


def test_two_writers_at_once_add_each_row_once(tables: Tables) -> None:
    tables.append("verdicts", verdicts(tables, ("a", True)))
    batch = verdicts(tables, *((f"clip{i}", True) for i in range(20))).cache()
    with ThreadPoolExecutor(3) as pool:
        added = list(pool.map(lambda _: tables.append("verdicts", batch), range(3)))
    assert sum(added) == 20
    assert tables.read("verdicts").count() == 21


def test_an_unchanged_state_is_not_written(tables: Tables) -> None:
    tables.change("verdicts", verdicts(tables, ("a", True), ("b", True)))
    before = DeltaTable(tables.path("verdicts")).version()
    assert tables.change("verdicts", verdicts(tables, ("b", True), ("a", True), run_id="second")) == 0
    assert DeltaTable(tables.path("verdicts")).version() == before


def test_a_changed_state_touches_only_what_differs(tables: Tables) -> None:
    tables.change("verdicts", verdicts(tables, ("a", True), ("b", True), ("c", True)))
    assert tables.change("verdicts", verdicts(tables, ("a", True), ("b", False), ("d", True), run_id="second")) == 3
    assert held(tables) == {("a", True, "first"), ("b", False, "second"), ("d", True, "second")}


def test_replace_leaves_nothing_of_before(tables: Tables) -> None:
    tables.replace("verdicts", verdicts(tables, ("a", True)))
    tables.replace("verdicts", verdicts(tables, ("b", True)))
    assert held(tables) == {("b", True, "first")}


@pytest.mark.parametrize("name", TABLES)
def test_every_table_opens_without_spark(tables: Tables, name: str) -> None:
    empty = tables.spark.createDataFrame([], struct_type(TABLES[name].schema))
    tables.append(name, empty)
    seen = pa.schema(DeltaTable(tables.path(name)).schema().to_arrow())
    assert seen.names == TABLES[name].schema.names


def test_columns_carry_their_comments(tables: Tables) -> None:
    tables.append("verdicts", verdicts(tables, ("a", True)))
    told = tables.spark.sql(f"DESCRIBE delta.`{tables.path('verdicts')}`").where("col_name = 'kept'").first()
    assert told is not None
    assert told["comment"] == "no reason speaks against it"
